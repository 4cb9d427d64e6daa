import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { always } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { BIN, keyctl, onlyIn } from "../support/programs/keyctl.ts";
import { terminalSession } from "../support/programs/terminal-session.ts";
import type { TerminalSession } from "../support/programs/terminal-session.ts";
import { environmentFor } from "../support/recording/keyctl.ts";

const USERS = 40;
const PROVISION = ["provision", "--users-file", "users", "--limit", "5", "--max-keys", String(USERS)];

interface Scene {
  readonly home: Home;
  readonly server: OpenRouterServer;
  readonly env: Readonly<Record<string, string>>;
  readonly start: (args: readonly string[], env?: Readonly<Record<string, string>>) => TerminalSession;
}

/** OpenRouter is slow, and 40 users are in a file, which has a line twice. */
async function scene(): Promise<Scene> {
  const home = emptyHome();
  const server = await mockOpenRouter({ latencyMs: 400 });
  const users = Array.from({ length: USERS }, (_, index) => `user-${index}\n`);
  writeFileSync(join(home.work, "users"), [...users, "user-3\n"].join(""));
  const env = environmentFor(server);
  return { home, server, env, start: (args, more) => terminalSession(home, args, { env: { ...env, ...more } }) };
}

describe("long work on a terminal", () => {
  it("shows how far it is below its rows, which come as they are done; and so does what follows", async () => {
    const { start } = await scene();
    const provision = start(PROVISION);
    await provision.shows("provision: ");
    await provision.shows(" of 41 users, ");
    await provision.shows("s left");
    await provision.shows("made\r\n");
    await provision.shows("s left");
    await provision.shows("made\r\n");
    const { code, screen } = await provision.ended;
    expect(code).toBe(0);
    expect(
      screen
        .trimEnd()
        .split(/[\r\n]+/)
        .at(-1),
    ).toMatch(/^40 users in \d+s: 40 made$/);

    const validate = start(["validate", "--all", "--concurrency", "4"]);
    await validate.shows("validate: ");
    await validate.shows(" of 40 users, ");
    await validate.shows("s left");
    expect(await validate.ended).toMatchObject({ code: 0, screen: expect.stringContaining("40 keys checked in") });

    const reconcile = start(["reconcile"]);
    await reconcile.shows("reconcile: listing at OpenRouter: ");
    expect(await reconcile.ended).toMatchObject({ code: 0, screen: expect.stringMatching(/40 matched/) });
  });

  it.each([
    ["--json", ["--json"], {}],
    ["--output", ["--output", "out"], {}],
    ["no colour", ["--no-color"], { NO_COLOR: "1" }],
  ] as const)("shows it with %s", async (_, flags, env) => {
    const { start } = await scene();
    const tool = start([...PROVISION, ...flags], env);
    await tool.shows(" of 41 users, ");
    expect((await tool.ended).code).toBe(0);
  });

  it.each([
    ["--quiet", ["--quiet"], {}],
    ["a terminal that cannot move its cursor", [], { TERM: "dumb" }],
    ["CI", [], { CI: "1" }],
  ] as const)("shows no line that changes with %s", async (_, flags, env) => {
    const { start } = await scene();
    const { code, screen } = await start([...PROVISION, ...flags], env).ended;
    expect([code, screen.includes("provision: ")]).toEqual([0, false]);
  });

  it("shows that it lives for one user too", async () => {
    const { server, start } = await scene();
    server.behave(always("POST /keys", { delayMs: 2500 }));
    const tool = start(["sync", "--user", "alice", "--json"]);
    await tool.shows("sync: 2s");
    expect((await tool.ended).code).toBe(0);
  });
});

describe("long work on a pipe", () => {
  it("prints no line of a terminal", async () => {
    const { home, env } = await scene();
    const done = await keyctl(home, PROVISION, { env });
    expect([done.code, done.stdout.split("\n").length]).toEqual([0, USERS + 1]);
    for (const text of ["\r", "\u001B", "provision: "]) expect(done.stderr).not.toContain(text);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("that ends by %s says what it has not begun; run again, it begins that", async (signal, code) => {
    const { home, server, env } = await scene();
    const child = execa(process.execPath, [BIN, ...PROVISION, "--json"], onlyIn(home, { env }));
    while (server.keys.size < 8) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill(signal);
    const done = await child;
    expect(done.exitCode).toBe(code);
    const summary = documentsOf({ stdout: String(done.stdout) }).at(-1) as unknown as Summary;
    expect(summary).toMatchObject({ total: USERS, failed: 0, complete: false });
    const left = USERS - summary.done;
    expect(left).toBeGreaterThan(0);
    expect(summary.error.hint).toBe(`${left} not started; run it again`);
    expect(String(done.stderr)).toContain(`hint: ${left} not started; run it again\n`);

    const again = await keyctl(home, [...PROVISION, "--json"], { env });
    expect([again.code, server.keys.size]).toEqual([0, USERS]);
    const { made, had_a_key: had } = documentsOf(again).at(-1) as unknown as Summary;
    expect([made + had, made]).toEqual([USERS, left]);
  });
});

interface Summary {
  readonly done: number;
  readonly made: number;
  readonly had_a_key: number;
  readonly error: { readonly hint: string };
}

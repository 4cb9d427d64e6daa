import { execa } from "execa";
import { expect, it } from "vitest";
import { canariesIn, CANARIES } from "../support/fixtures/leak-canaries.ts";
import { BIN, keyctl, onlyIn } from "../support/programs/keyctl.ts";
import { homeOn, withSpare } from "../support/mongodb/run.ts";
import {
  databaseOfTest,
  describeWithMongodb,
  describeWithOwnServer,
  serverOfTest,
} from "../support/mongodb/of-test.ts";
import { uriOf } from "../support/mongodb/server.ts";
import { on, tcpProxy } from "../support/mongodb/tcp-proxy.ts";
import type { Action } from "../support/mongodb/tcp-proxy.ts";

const LIBRARY = new URL("../../dist/library/index.js", import.meta.url).href;
/** `--timeout 2s`, plus the start of Node on a busy machine. */
const SOON_MS = 5_000;
/** More users than one page of a list. */
const MANY = 600;

const SYNC = ["sync", "-u", "carol"];
type Hang = readonly [command: string, action: Action, args: readonly string[]];

const HANGS: readonly Hang[] = [
  ["ismaster", "swallow", ["list"]],
  ["ismaster", "half-close", ["get", "-u", "alice", "--stored"]],
  ["ismaster", { delayMs: 20_000 }, ["sync", "--all"]],
  ["find", "swallow", ["get", "-u", "alice"]],
  ["find", "lose-answer", ["get", "-u", "alice", "--stored", "--json"]],
  ["find", "half-close", ["list"]],
  ["find", { delayMs: 20_000 }, SYNC],
  ["find", "swallow", ["sync", "--all"]],
  ["find", "cut", ["purge", "-u", "alice", "--yes"]],
  ["find", "swallow", ["doctor"]],
  ["getMore", "swallow", ["list", "--json"]],
  ["getMore", "half-close", ["list"]],
  ["getMore", "lose-answer", ["sync", "--all", "--json"]],
  ["getMore", "cut", ["sync", "--all"]],
  ["listIndexes", "swallow", SYNC],
  ["insert", "swallow", SYNC],
  ["insert", "half-close", SYNC],
  ["insert", { delayMs: 20_000 }, [...SYNC, "-u", "dave"]],
  ["delete", "swallow", ["purge", "-u", "alice", "--yes"]],
];

describeWithMongodb("a connection that hangs", () => {
  it.each(HANGS)("at %s (%j): keyctl %j ends within its time", async (command, action, args) => {
    const { home, proxy } = await listed();
    proxy.behave(on(command, action));
    const started = performance.now();

    const run = await keyctl(home, [...args, "--timeout", "2s"]);

    expect(performance.now() - started).toBeLessThan(SOON_MS);
    expect(run.code).toBe(7);
    if (args[0] !== "doctor") expect(run.stderr).toMatch(/^error: the database .+\nhint: .+\n$/m);
    expect(proxy.commands).toContain(command);
    expect(canariesIn({ stdout: run.stdout, stderr: run.stderr })).toEqual([]);
  });

  it("at the goodbye is not waited for", async () => {
    const { home, proxy } = await listed();
    proxy.behave(on("endSessions", "swallow"));
    const started = performance.now();

    expect(await keyctl(home, ["get", "-u", "alice", "--stored"])).toMatchObject({ code: 0 });
    expect(performance.now() - started).toBeLessThan(SOON_MS);
    expect(proxy.commands).toContain("endSessions");
  });

  it.each([
    ["SIGINT", 130, "find", ["get", "-u", "alice", "--stored"]],
    ["SIGTERM", 143, "find", ["sync", "-u", "carol"]],
    ["SIGINT", 130, "insert", ["sync", "-u", "carol"]],
    ["SIGTERM", 143, "getMore", ["list"]],
    ["SIGINT", 130, "getMore", ["sync", "--all"]],
  ] as const)("ends at once by %s: exit %i, at %s of %j", async (signal, code, command, args) => {
    const { home, proxy } = await listed();
    proxy.behave(on(command, "swallow"));
    const running = execa(process.execPath, [BIN, ...args], onlyIn(home, {}));
    await expect.poll(() => proxy.commands.includes(command), { timeout: 20_000 }).toBe(true);
    const asked = performance.now();

    running.kill(signal);
    const { exitCode } = await running;

    expect(exitCode).toBe(code);
    expect(performance.now() - asked).toBeLessThan(3_000);
  });

  it("holds up no call of the library longer than it was given, nor its close, nor the process", async () => {
    const { home, proxy } = await listed();
    proxy.behave(on("find", "swallow"));
    const script = `
      import { KeyManager } from ${JSON.stringify(LIBRARY)};
      const took = async (work) => { const from = performance.now(); const end = await work().catch((thrown) => thrown);
        return [end?.error?.code ?? end?.code ?? null, performance.now() - from]; };
      const keys = await KeyManager.open({ timeoutMs: 500 });
      console.log(JSON.stringify([
        await took(() => keys.syncAndGetKey("alice")), await took(() => keys.getStoredKey("alice")),
        await took(() => keys.check()), await took(() => keys.syncAndGetKey("carol", { timeoutMs: 200 })),
        await took(() => keys.close()),
      ]));`;
    const started = performance.now();
    const { stdout } = await execa(process.execPath, ["--input-type=module", "--eval", script], onlyIn(home, {}));
    const all = performance.now() - started;

    const calls = JSON.parse(String(stdout)) as readonly (readonly [string | null, number])[];
    expect(calls.map(([code]) => code)).toEqual([...Array<string>(4).fill("STORE_UNAVAILABLE"), null]);
    for (const [, ms] of calls) expect(ms).toBeLessThan(2_000);
    expect(all).toBeLessThan(calls.reduce((sum, [, ms]) => sum + ms, 3_000));
  });
});

describeWithOwnServer("a server that is killed", () => {
  it("between two commands is missed by the second, and works again when it is back", async () => {
    const server = await serverOfTest();
    const home = homeOn(withSpare(uriOf(server.uri, "keys")));
    home.writeKeyFile(CANARIES.key);
    expect(await keyctl(home, ["sync", "-u", "alice"])).toMatchObject({ code: 0 });

    await server.kill();
    const missed = await keyctl(home, ["get", "-u", "alice", "--stored", "--timeout", "2s"]);
    await server.restart();

    expect(missed).toMatchObject({ code: 7, stdout: "" });
    expect(missed.stderr).toContain("refused the connection");
    expect(await keyctl(home, ["get", "-u", "alice", "--stored"])).toMatchObject({ code: 0 });
    expect(await keyctl(home, ["sync", "-u", "bob"])).toMatchObject({ code: 0 });
  });

  it.each([
    ["sync", "insert"],
    ["list", "getMore"],
  ])("in the middle of a %s ends it, and the next one finishes the work", async (verb, command) => {
    const server = await serverOfTest();
    const direct = homeOn(uriOf(server.uri, "keys"));
    direct.writeKeyFile(CANARIES.key);
    const users = Array.from({ length: MANY }, (_, index) => `user-${index}`).join("\n");
    const sync = ["sync", "--users-file", "-", "--json", "--timeout", "5s"];
    if (verb === "list") expect(await keyctl(direct, sync, { input: users })).toMatchObject({ code: 0 });
    const proxy = await tcpProxy(uriOf(server.uri, "keys"));
    proxy.behave(({ name, document }) => {
      if (name !== command || (name === "insert" && document["insert"] !== "api_keys")) return "pass";
      void server.kill();
      return "pass";
    });
    const home = { ...direct, environment: { ...direct.environment, KEYCTL_STORE: proxy.uri } };
    const args = verb === "sync" ? sync : ["list", "--json", "--timeout", "5s"];
    const started = performance.now();

    const run = await keyctl(home, args, { input: users });
    const took = performance.now() - started;
    await server.restart();

    // The command may have finished before the server was killed.
    expect([0, 7]).toContain(run.code);
    expect(took).toBeLessThan(8_000);
    expect(canariesIn({ stdout: run.stdout, stderr: run.stderr })).toEqual([]);
    expect(await keyctl(direct, sync, { input: users })).toMatchObject({ code: 0 });
    expect(await keyctl(direct, ["list", "--count"])).toMatchObject({ code: 0, stdout: `${MANY}\n` });
  });
});

/** A home whose store is a database with many users, behind a proxy. */
async function listed() {
  const { uri, db } = databaseOfTest();
  const keys = db.collection("api_keys");
  await keys.createIndex({ user_id: 1, provider: 1 }, { unique: true });
  const users = ["alice", ...Array.from({ length: MANY }, (_, index) => `user-${index}`)];
  await keys.insertMany(
    users.map((user) => ({ user_id: user, provider: "openrouter", key_encrypted: CANARIES.key, source: "manual" })),
  );
  const proxy = await tcpProxy(uri);
  const home = homeOn(withSpare(proxy.uri));
  home.writeKeyFile(CANARIES["replaced key"]);
  return { home, proxy };
}

import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { BIN, keyctl, onlyIn } from "../support/programs/keyctl.ts";
import { always } from "../support/openrouter/faults.ts";
import { openRouterServer } from "../support/openrouter/server.ts";
import { journalOf } from "../support/home/tool-with-openrouter.ts";

function nothing(): void {}

describe("a signal while a key is being made", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s waits until the key is in use, then ends with %i", async (signal, code) => {
    const home = emptyHome();
    let stop = nothing;
    const server = await openRouterServer({ onRequest: ({ route }) => route === "POST /keys" && stop() });
    server.behave(always("POST /keys", { delayMs: 700 }));
    const env = { OPENROUTER_PROVISIONING_KEY: server.managementKey, KEYCTL_OPENROUTER_URL: server.url };
    const child = execa(process.execPath, [BIN, "sync", "--user", "alice"], onlyIn(home, { env }));
    stop = () => child.kill(signal);
    const run = await child;
    expect(run.exitCode).toBe(code);
    expect(await journalOf(home)).toEqual(["op:1", "out:1 saved"]);
    const after = await keyctl(home, ["get", "--user", "alice", "--json"], { env });
    expect(JSON.parse(after.stdout)).toMatchObject({ source: "database", error: null });
    expect([server.count("POST /keys"), server.keys.size]).toEqual([1, 1]);
    await server.close();
  });

  it("ends at once with a second one, and the next sync clears up", async () => {
    const home = emptyHome();
    let stop = nothing;
    const server = await openRouterServer({ onRequest: ({ route }) => route === "POST /keys" && stop() });
    server.behave(always("POST /keys", "hang-after"));
    const env = { OPENROUTER_PROVISIONING_KEY: server.managementKey, KEYCTL_OPENROUTER_URL: server.url };
    const child = execa(process.execPath, [BIN, "sync", "--user", "alice"], onlyIn(home, { env }));
    stop = () => {
      child.kill("SIGINT");
      setTimeout(() => child.kill("SIGINT"), 300);
    };
    const began = performance.now();
    await child;
    expect(performance.now() - began).toBeLessThan(5_000);
    expect([await journalOf(home), server.keys.size]).toEqual([["op:1"], 1]);
    stop = nothing;
    const pending = await keyctl(home, ["sync", "--user", "alice", "--json", "--timeout", "500ms"], { env });
    expect(JSON.parse(pending.stdout)).toMatchObject({ error: { code: "PROVISION_PENDING" } });
    await server.close();
  });
});

import { describe, expect, it } from "vitest";
import { hashOf, KEY, maskOf } from "../support/fixtures/keys.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import { runProgram } from "../support/programs/installed-library.ts";
import { keyctl } from "../support/programs/keyctl.ts";

/** A program that asks a model with a user's key: here OpenRouter itself, which refuses a dead key in the same way. */
const ANALYSIS = `
  import { KeyManager, renewalFields } from "keyctl";
  const keys = await KeyManager.open({ log: "stderr" });
  const ask = (key, { signal }) =>
    fetch(process.env.MODEL_URL, { headers: { authorization: \`Bearer \${key}\` }, signal });
  const result = await keys.withUserKey(process.env.MODEL_USER, ask);
  console.log(JSON.stringify({ status: result.value.status, ...renewalFields(result) }));
  await keys.close();
`;

function environmentOf(server: OpenRouterServer): Record<string, string> {
  return { OPENROUTER_PROVISIONING_KEY: server.managementKey, KEYCTL_OPENROUTER_URL: server.url };
}

async function analysis(home: Home, server: OpenRouterServer) {
  const env = { ...environmentOf(server), MODEL_URL: `${server.url}/key`, MODEL_USER: "alice" };
  const run = await runProgram(home, "program.mjs", ANALYSIS, env);
  return { ...run, answer: JSON.parse(run.stdout) as unknown, log: run.stderr.replaceAll(/\*{15}\w{4}/g, "<mask>") };
}

describe("the three tests of the guide to the old system", () => {
  it("an expired key is replaced during the request", async () => {
    const server = await mockOpenRouter();
    const home = emptyHome();
    await keyctl(home, ["save", "--user", "alice", "--stdin"], { env: environmentOf(server), input: KEY });
    server.addKey(KEY, { createdAt: "2025-10-05T09:00:00.000Z", expiresAt: "2026-01-03T09:00:00.000Z" });
    const { code, answer, log } = await analysis(home, server);
    expect([code, answer]).toEqual([
      0,
      { status: 200, auto_renewed: true, auto_renewal_failed: false, auto_renewal_error: null },
    ]);
    expect(log.split("\n").slice(-4)).toEqual([
      "[Auto-Renewal] Old key expired: <mask>",
      "[Auto-Renewal] Creating new runtime key for user alice...",
      "[Auto-Renewal] ✅ New key created and saved: <mask>",
      "✅ API key was automatically renewed during this request",
    ]);
    const stored = await keyctl(home, ["list", "--json"], { env: environmentOf(server) });
    expect(JSON.parse(stored.stdout)).toMatchObject({ auto_renewed: true, generation: 1 });
    expect(stored.stdout).not.toContain(hashOf(KEY));
  });

  it("a user without a key gets one", async () => {
    const server = await mockOpenRouter();
    const { answer, log } = await analysis(emptyHome(), server);
    expect(answer).toMatchObject({ status: 200, auto_renewed: false, auto_renewal_failed: false });
    expect(log).toContain("[KeyManager] ✅ Auto-provisioned new key: <mask>\n");
    expect(log).not.toContain("[Auto-Renewal]");
    expect(server.count("POST /keys")).toBe(1);
  });

  it("a script renews a key from the command line, once", async () => {
    const server = await mockOpenRouter();
    const home = emptyHome();
    const env = environmentOf(server);
    await keyctl(home, ["save", "--user", "alice", "--stdin"], { env, input: KEY });
    const run = await keyctl(home, ["renew", "--user", "alice", "--json"], { env });
    expect([run.code, JSON.parse(run.stdout)]).toMatchObject([0, { renewed: true, previous: { key: maskOf(KEY) } }]);
    const again = await keyctl(home, ["renew", "--user", "alice", "--json"], { env });
    expect([again.code, JSON.parse(again.stdout)]).toMatchObject([0, { renewed: false, previous: null }]);
    expect(server.count("POST /keys")).toBe(1);
  });
});

it("a renewal that fails is said in the answer, which is the first one", async () => {
  const server = await mockOpenRouter();
  const home = emptyHome();
  await keyctl(home, ["save", "--user", "alice", "--stdin"], { env: environmentOf(server), input: KEY });
  server.addKey(KEY).disabled = true;
  const { code, answer, log } = await analysis(home, server);
  const reason = "the key of user alice is disabled at OpenRouter, maybe on purpose; nothing was done";
  expect([code, answer]).toEqual([
    0,
    { status: 401, auto_renewed: false, auto_renewal_failed: true, auto_renewal_error: reason },
  ]);
  expect(log).toContain(`[Auto-Renewal] ❌ ${reason}`);
});

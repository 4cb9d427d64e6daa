import { describe, expect, it } from "vitest";
import { KEY } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import type { Fault } from "../support/openrouter/faults.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";

const CREDITS = /credits/;
const BETWEEN = /login page, a firewall or a proxy/;

/** Answers that more time does not change: what is said of each, and what the hint is about. */
const ANSWERS: readonly (readonly [name: string, fault: Fault, said: RegExp, hint: RegExp])[] = [
  [
    "a wait of a day",
    { status: 429, headers: { "retry-after": "86400" } },
    /answered 429: .*, and asks to wait 1 day/,
    /^run it again in 1 day$/,
  ],
  [
    "a maintenance of two hours",
    { status: 503, headers: { "retry-after": "7200" } },
    /answered 503.*, and asks to wait 2 hours/,
    /^run it again in 2 hours$/,
  ],
  ["a redirect", "redirect", /answered 307, a redirect/, BETWEEN],
  ["a captive portal", "html", /answered 200 with a web page/, BETWEEN],
  ["a firewall", { status: 403, body: "html" }, /answered 403 with a web page/, BETWEEN],
  ["402", { status: 402 }, /answered 402: /, CREDITS],
  ["403", { status: 403 }, /answered 403: /, /openrouter\.ai\/settings/],
  ["another program", "other-shape", /answered 20[01] with something/, /KEYCTL_OPENROUTER_URL/],
];

describe("what more time does not change", () => {
  it.each(ANSWERS)("is said by validate: %s", async (_name, fault, said, hint) => {
    const { server, run, given } = await stage();
    server.addKey(KEY);
    await given("save --user alice --stdin", { input: KEY });
    server.behave(always("GET /key", fault));
    const done = await run("validate --user alice --json");
    expect(done.code).toBe(6);
    expect(errorOf(done)?.message).toMatch(said);
    expect(errorOf(done)?.hint).toMatch(hint);
    expect(errorOf(done)?.hint).not.toContain("--timeout");
  });

  it.each(ANSWERS.filter(([name]) => name !== "403"))("is said by reconcile: %s", async (_name, fault, said, hint) => {
    const { server, run, given } = await stage();
    await given("sync --user alice");
    server.behave(always("GET /keys", fault));
    const done = await run("reconcile --json");
    expect(done.code).toBe(6);
    expect(errorOf(done)?.message).toMatch(said);
    expect(errorOf(done)?.hint).toMatch(hint);
  });

  it.each(ANSWERS.filter(([name]) => !["403", "402"].includes(name)))(
    "is said by sync that creates a key: %s",
    async (_name, fault, said, hint) => {
      const { server, run } = await stage();
      server.behave(always("POST /keys", fault));
      const done = await run("sync --user alice --json");
      expect(done.code).toBe(6);
      expect(errorOf(done)?.message).toMatch(said);
      expect(errorOf(done)?.hint).toMatch(hint);
    },
  );
});

describe("a creation that OpenRouter refuses", () => {
  it.each([
    [400, /--limit, --limit-reset, --expires-in and --workspace/],
    [402, CREDITS],
    [404, /--workspace/],
    [409, /openrouter\.ai\/keys/],
    [413, /KEYCTL_OPENROUTER_URL/],
    [422, /--limit, --limit-reset, --expires-in and --workspace/],
  ])("with %d says what to check", async (status, hint) => {
    const { server, run } = await stage();
    server.behave(always("POST /keys", { status }));
    for (const verb of ["sync", "provision"]) {
      const refused = await run(`${verb} --user alice`);
      expect(refused.code).toBe(4);
      expect(refused.stderr).toContain(`error: OpenRouter refused to create a key: it answered ${status}`);
      expect(refused.stderr).toMatch(new RegExp(`^hint: .*${hint.source}`, "m"));
    }
  });

  it("in a run of many is each user's own failure, and what to check is said once", async () => {
    const { server, run } = await stage();
    server.behave(({ route, number }) => (route === "POST /keys" && number % 2 === 0 ? { status: 402 } : "pass"));
    const done = await run("provision --users-file - --json", { input: "a\nb\nc\nd\n" });
    expect(done.code).toBe(9);
    const codes = documentsOf(done).map(({ error }) => (error as { code?: string } | null)?.code);
    expect(codes.filter((code) => code === "PROVISION_REFUSED")).toHaveLength(2);
    expect(errorOf(done)?.hint).toMatch(CREDITS);
    expect(server.keys.size).toBe(2);
  });
});

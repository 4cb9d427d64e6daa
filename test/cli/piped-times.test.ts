import { describe, expect, it } from "vitest";
import { KEY } from "../support/fixtures/keys.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";

const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;
const WIDE = { columns: 160, env: { NO_COLOR: "1" } };

async function checked() {
  const all = await stage();
  all.server.addKey(KEY, { limit: 5, expiresAt: new Date(Date.now() + 9 * 86_400_000).toISOString() });
  await all.given("save --user alice --stdin", { input: KEY });
  await all.given("validate --user alice");
  return all;
}

describe("times on a pipe are RFC 3339, and words on a terminal", () => {
  it("of list", async () => {
    const { run } = await checked();
    expect((await run("list")).stdout).toMatch(
      new RegExp(`^alice\\t\\*+b465\\tmanual\\t${TIME}\\tvalid ${TIME}\\t${TIME}\\t\\$5\\n$`),
    );
    expect((await run("list", WIDE)).stdout).toMatch(/^alice {2}\*+b465 {2}manual {2}\d+s +✓ \d+s +8d +\$5$/m);
  });

  it("of validate", async () => {
    const { server, run } = await checked();
    server.removeKey([...server.keys.keys()][0] ?? "");
    expect((await run("validate --user alice --user bob")).stdout).toMatch(
      new RegExp(`^alice\\t\\*+b465\\tinvalid\\tdeleted\\t${TIME}$`, "m"),
    );
    expect((await run("validate --all", WIDE)).stdout).toMatch(
      /^alice .* invalid +deleted +(\d+ seconds? ago|just now)$/m,
    );
  });

  it("of get", async () => {
    const { run } = await checked();
    expect((await run("get --user alice")).stdout).toMatch(new RegExp(`^Last check: +valid, ${TIME}$`, "m"));
    expect((await run("get --user alice", WIDE)).stdout).toMatch(/^Last check: +valid, (\d+ s ago|just now)$/m);
  });
});

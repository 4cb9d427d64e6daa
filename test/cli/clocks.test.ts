import { describe, expect, it } from "vitest";
import { withDatabase } from "../support/sqlite/database.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { note, operation, stage } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import { always } from "../support/openrouter/faults.ts";
import { documentsOf } from "../support/programs/in-process.ts";

/** A clock that had jumped ahead has written times that are to come; they count as never. */

const DAY = 86_400_000;
const TEN_YEARS = 3650 * DAY;
const from = (milliseconds: number) => new Date(Date.now() + milliseconds).toISOString();

async function withAlice(): Promise<Stage> {
  const set = await stage();
  set.server.addKey(KEY, { limit: 5 });
  await set.given("save --user alice --stdin", { input: KEY });
  return set;
}

function change({ home }: Stage, assignments: string, ...values: readonly string[]): Promise<unknown> {
  return withDatabase(home, (database) =>
    database.prepare(`UPDATE api_keys SET ${assignments} WHERE user_id = 'alice'`).run(...values),
  );
}

describe("a check from the future", () => {
  it("is not taken over as fresh: the key is asked about, with a warning", async () => {
    const set = await withAlice();
    await change(set, "last_check = ?", JSON.stringify({ at: from(TEN_YEARS), verdict: "invalid", reason: "deleted" }));
    const [document, summary] = documentsOf(await set.run("validate --all --not-validated-since 24h --json"));
    expect(document).toMatchObject({ verdict: "valid", warnings: [{ code: "TIME_IN_FUTURE" }] });
    expect(summary).toMatchObject({ resumed: 0, requests: 1, warnings: [{ code: "TIME_IN_FUTURE" }] });
    // The new check stands in its place.
    const [again] = documentsOf(await set.run("validate --all --not-validated-since 24h --json"));
    expect(again).toMatchObject({ verdict: "valid", warnings: [] });
  });

  it("is taken over when the clock is only some minutes ahead", async () => {
    const set = await withAlice();
    await change(set, "last_check = ?", JSON.stringify({ at: from(240_000), verdict: "valid", reason: null }));
    const summary = documentsOf(await set.run("validate --all --not-validated-since 24h --json")).at(-1);
    expect(summary).toMatchObject({ resumed: 1, requests: 0, warnings: [] });
  });

  it("is none for list and get", async () => {
    const set = await withAlice();
    const future = from(TEN_YEARS);
    await change(set, "last_check = ?, last_validated = ?", JSON.stringify({ at: future, verdict: "valid" }), future);
    const [row] = documentsOf(await set.run("list --verdict never --json"));
    expect(row).toMatchObject({ verdict: null, checked_at: null, last_validated: null });
    expect((await set.run("list --verdict valid --count")).stdout).toBe("0\n");
    expect((await set.run("get --user alice")).stdout).toContain("\nLast check: never\n");
  });
});

describe("a key that was stored in the future", () => {
  it("is not new for ten years: that it is refused counts", async () => {
    const set = await withAlice();
    await change(set, "generation = 1, created_at = ?", from(TEN_YEARS));
    for (const hash of set.server.keys.keys()) set.server.removeKey(hash);
    const run = await set.run("validate --user alice --json");
    expect([run.code, documentsOf(run)[0]]).toMatchObject([5, { verdict: "invalid", reason: "deleted" }]);
  });

  it("has no age", async () => {
    const set = await withAlice();
    await change(set, "created_at = ?", from(TEN_YEARS));
    expect((await set.run("list")).stdout).toContain("\tmanual\t-\t");
    expect((await set.run("explain --user alice")).stdout).toContain("\tmanual, of unknown age\n");
  });

  it("is missed by reconcile when it is gone", async () => {
    const set = await stage();
    await set.given("provision --user alice --limit 5");
    await change(set, "created_at = ?", from(TEN_YEARS));
    for (const hash of set.server.keys.keys()) set.server.removeKey(hash);
    expect(documentsOf(await set.run("reconcile --json"))[0]).toMatchObject({ class: "dangling_row" });
  });
});

describe("an operation from the future", () => {
  it("does not use up the hourly cap", async () => {
    const set = await stage();
    await set.given("save --user somebody --stdin", { input: KEY });
    for (const user of ["u1", "u2", "u3"]) await note(set.home, user, operation(1), -TEN_YEARS);
    const run = await set.run("sync --user alice --json", { env: { KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" } });
    expect([run.code, documentsOf(run)[0]]).toMatchObject([0, { source: "auto-provisioned" }]);
  });

  it.each([TEN_YEARS, 120_000])("of the same user, %i ms ahead, is not waited for", async (aheadMs) => {
    const set = await stage();
    await set.given("save --user somebody --stdin", { input: KEY });
    await note(set.home, "alice", operation(1), -aheadMs);
    const run = await set.run("sync --user alice --json --timeout 10s");
    expect([run.code, documentsOf(run)[0]]).toMatchObject([0, { source: "auto-provisioned" }]);
  });
});

describe("the end of a new key", () => {
  it.each([3 * DAY, -3 * DAY])("is counted by OpenRouter's clock, which is %i ms ahead of ours", async (aheadMs) => {
    const set = await stage({ now: () => Date.now() + aheadMs });
    const [made] = documentsOf(await set.run("provision --user alice --limit 5 --expires-in 90d --json"));
    const end = Date.parse(String(made?.["expires_at"]));
    expect(Math.abs(end - (Date.now() + aheadMs + 90 * DAY))).toBeLessThan(60_000);
    expect([...set.server.keys.values()].map(({ expiresAt }) => Date.parse(expiresAt ?? ""))).toEqual([end]);
  });

  it("is counted by our own where OpenRouter could not be asked for the time", async () => {
    const set = await stage();
    set.server.behave(always("GET /key", "reset-before"));
    const run = await set.run("provision --user alice --limit 5 --expires-in 90d --json");
    const end = Date.parse(String(documentsOf(run)[0]?.["expires_at"]));
    expect(Math.abs(end - (Date.now() + 90 * DAY))).toBeLessThan(60_000);
  });
});

it("a listing judges the end of a key by OpenRouter's clock, so that a wrong clock of ours marks no key as invalid", async () => {
  const set = await stage({ now: () => Date.now() - TEN_YEARS });
  set.server.addKey(KEY, { limit: 5, expiresAt: from(-DAY) });
  await set.given("save --user alice --stdin", { input: KEY });
  const run = await set.run("validate --all --from-listing --json");
  expect(documentsOf(run)[0]).toMatchObject({ verdict: "valid", witness: "list", attention: ["EXPIRED"] });
});

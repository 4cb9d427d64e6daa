import { describe, expect, it } from "vitest";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import { always } from "../support/openrouter/faults.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { withDatabase } from "../support/sqlite/database.ts";

const MASK = /\*{15}\w{4}/g;
const plain = { NO_COLOR: "1" };

/** These users have a key each; the first of them were deleted at OpenRouter, a day after they were created. */
async function withDead(dead: number, alive = 0): Promise<Stage & { readonly old: readonly string[] }> {
  const set = await stage();
  for (let index = 0; index < dead + alive; index += 1) await set.given(`provision --user u${index} --limit 5`);
  await withDatabase(set.home, (database) => {
    database.exec("UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'");
  });
  const old = [...set.server.keys.keys()];
  for (const hash of old.slice(0, dead)) set.server.removeKey(hash);
  return { ...set, old };
}

describe("renew of one user", () => {
  it("replaces a dead key, and says all about it", async () => {
    const { run, server, old } = await withDead(1);
    const done = await run("renew --user u0 --json");
    const [key] = server.keys.values();
    expect([done.code, documentsOf(done)]).toEqual([
      0,
      [
        {
          user_id: "u0",
          key: expect.stringMatching(/^\*{15}\w{4}$/) as string,
          key_hash: key?.hash,
          source: "auto-provisioned",
          origin: "auto-provisioned",
          synced: true,
          shadowed: [],
          renewed: true,
          reason: "deleted",
          previous: {
            key: expect.stringMatching(/^\*{15}\w{4}$/) as string,
            key_hash: old[0],
            origin: "auto-provisioned",
            revocation: "done",
            revoke_at: null,
          },
          warnings: [{ code: "LIMIT_WHOLE_AGAIN", message: expect.stringContaining("all of its $5") as string }],
          error: null,
        },
      ],
    ]);
    expect(documentsOf(await run("list --json"))).toMatchObject([
      { user_id: "u0", auto_renewed: true, last_renewal_at: expect.stringMatching(/Z$/) as string },
    ]);
  });

  it("logs the three lines of a renewal", async () => {
    const { run } = await withDead(1);
    const { stderr, stdout } = await run("renew --user u0", { env: plain });
    expect(
      stderr
        .replace(/^warning: .*\n/m, "")
        .replaceAll(MASK, "<mask>")
        .split("\n"),
    ).toEqual([
      "[Auto-Renewal] Old key expired: <mask>",
      "[Auto-Renewal] Creating new runtime key for user u0...",
      "[Auto-Renewal] ✅ New key created and saved: <mask>",
      "",
    ]);
    expect(stdout.replaceAll(MASK, "<mask>")).toBe("<mask> renewed: old key <mask> was deleted at OpenRouter\n");
  });

  it("leaves a key that works, without a management key as well", async () => {
    const { run, server } = await withDead(0, 1);
    const done = await run("renew --user u0", { env: { ...plain, OPENROUTER_PROVISIONING_KEY: "" } });
    expect([done.code, done.stdout.replaceAll(MASK, "<mask>"), done.log]).toEqual([0, "<mask> works, and stays\n", ""]);
    expect(server.count("POST /keys")).toBe(1);
  });

  it("ends with 5 for a disabled key, unless --include-disabled is given", async () => {
    const { run, server, old } = await withDead(0, 1);
    const key = server.keys.get(old[0] ?? "");
    if (key !== undefined) key.disabled = true;
    const done = await run("renew --user u0");
    expect([done.code, done.stderr]).toEqual([
      5,
      "error: the key of user u0 is disabled at OpenRouter, maybe on purpose; nothing was done\nhint: keyctl renew --user u0 --include-disabled\n",
    ]);
    expect((await run("renew --user u0 --include-disabled")).code).toBe(0);
  });

  it("ends with 6 if nobody knows, and with 4 if nobody can confirm it", async () => {
    const { run, server } = await withDead(1);
    const alone = await run("renew --user u0 --json", { env: { OPENROUTER_PROVISIONING_KEY: "" } });
    expect([alone.code, errorOf(alone)?.code]).toEqual([4, "MANAGEMENT_KEY_MISSING"]);
    server.behave(always("GET /keys/{hash}", { status: 500 }));
    const unknown = await run("renew --user u0 --timeout 3s --json");
    expect([unknown.code, errorOf(unknown)?.code]).toEqual([6, "VERDICT_UNKNOWN"]);
    expect(server.count("POST /keys")).toBe(1);
  });

  it("shows with --dry-run what it would do", async () => {
    const { run, server } = await withDead(1, 1);
    expect(documentsOf(await run("renew --user u0 --dry-run --json"))).toMatchObject([
      { user_id: "u0", dry_run: true, action: "create", reason: "deleted", renewed: false, error: null },
    ]);
    expect((await run("renew --user u1 --dry-run")).stdout.replaceAll(MASK, "<mask>")).toBe(
      "renew would keep <mask>: it works\n",
    );
    expect(server.count("POST /keys")).toBe(2);
  });

  it("is what sync hints at for a key that is known to be dead", async () => {
    const { run } = await withDead(1);
    await run("validate --user u0");
    const { stderr } = await run("sync --user u0");
    expect(stderr).toContain("keyctl renew --user u0   replaces it if OpenRouter confirms that");
  });

  it("keeps a key of key.txt that is named in its place out of it", async () => {
    const set = await stage();
    await set.given("save --user alice --stdin", { input: KEY });
    const done = await set.run("renew --user alice --json", { env: { OPENROUTER_API_KEY: OTHER } });
    const [document] = documentsOf(done);
    expect(document).toMatchObject({ renewed: true, shadowed: ["environment"], previous: { key: maskOf(KEY) } });
    expect([hashOf(KEY), hashOf(OTHER)]).not.toContain(document?.["key_hash"]);
  });
});

describe("renew of many users", () => {
  it("replaces the dead keys, leaves the others, and logs nothing", async () => {
    const { run, server } = await withDead(3, 2);
    const done = await run("renew --all --json");
    const documents = documentsOf(done);
    expect([done.code, done.stderr]).toEqual([0, expect.not.stringContaining("[Auto-Renewal]") as string]);
    expect(documents.slice(0, -1).map(({ renewed }) => renewed)).toEqual([true, true, true, false, false]);
    expect(documents.at(-1)).toMatchObject({
      command: "renew",
      total: 5,
      renewed: 3,
      still_valid: 2,
      left: 0,
      failed: 0,
    });
    expect(server.count("POST /keys")).toBe(8);
  });

  it("takes only dead keys from --max-keys, and ends with 6 for those that are left", async () => {
    const { run, server } = await withDead(3, 2);
    const done = await run("renew --all --max-keys 2 --concurrency 1 --json");
    expect([done.code, documentsOf(done).at(-1)]).toMatchObject([
      6,
      { renewed: 2, still_valid: 2, left: 1, failed: 0, error: { code: "PROVISION_CAP" } },
    ]);
    expect(server.count("POST /keys")).toBe(7);
  });

  it("wants --max-keys for more than ten", { timeout: 60_000 }, async () => {
    const { run, server } = await withDead(11);
    const done = await run("renew --all --json");
    expect([done.code, errorOf(done)?.code]).toEqual([2, "CONFIRMATION_NEEDED"]);
    expect(server.count("POST /keys")).toBe(11);
  });

  it("shows with --dry-run what it would do", async () => {
    const { run, server } = await withDead(2, 1);
    const done = await run("renew --all --dry-run --json");
    expect(documentsOf(done).at(-1)).toMatchObject({ dry_run: true, to_renew: 2, still_valid: 1 });
    expect(server.count("POST /keys")).toBe(3);
  });
});

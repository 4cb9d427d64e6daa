import { describe, expect, it } from "vitest";
import { unknownWordsIn } from "../support/fixtures/hints.ts";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { OUTCOMES, REFUSALS } from "../support/fixtures/outcomes.ts";

const FIELDS: Readonly<Record<string, string>> = {
  sync: "user_id key key_hash source origin synced shadowed warnings error",
  get: "user_id key revealed key_hash source origin valid verdict reason checked_at limit limit_now limit_restore_at limit_remaining limit_reset expires_at shadowed warnings error",
  validate:
    "user_id key key_hash verdict valid reason witness checked_at recorded limit limit_now limit_restore_at limit_remaining limit_reset expires_at blocked_by last_used_at attention warnings error",
  provision:
    "user_id key key_hash source origin generation name label limit limit_reset expires_at previous warnings error",
  rotate:
    "user_id key key_hash source origin generation limit limit_now limit_restore_at limit_reset expires_at verified restrictions previous warnings error",
  renew: "user_id key key_hash source origin synced shadowed renewed reason previous warnings error",
  "renew --dry-run":
    "user_id key key_hash source origin synced shadowed renewed reason previous dry_run action warnings error",
  leaked: "key_hash owner name disabled_at replaced_by usage_since used_from last_used_at link action warnings error",
  reconcile: "type class user_id key_hash name action due_at done error",
  save: "user_id key key_hash source origin changed verdict reason previous warnings error",
  purge: "user_id key key_hash origin purged blocked revocation revoked_keys returns_from warnings error",
  unblock: "user_id unblocked warnings error",
  history: "at user_id event key_hash key generation actor reason",
  doctor: "version node platform store passed attention failed blocked_users checks warnings error",
  explain: "user_id winner steps store warnings error",
  rekey: "user_id error",
  copy: "user_id key key_hash outcome error",
  list: "user_id key key_hash origin generation settled encrypted created_at updated_at last_validated verdict reason limit limit_now limit_restore_at limit_reset expires_at checked_at limit_remaining blocked_by last_used_at auto_renewed last_renewal_at risks risks_unknown blocked warnings error",
};
const SUMMARIES: Readonly<Record<string, string>> = {
  sync: "type command store total done synced from_database failed blocked shard elapsed_ms complete warnings error",
  get: "type command store total done synced from_database failed blocked shard elapsed_ms complete warnings error",
  validate:
    "type command store total done valid invalid unknown failed blocked not_checked attention distinct_keys requests resumed shard elapsed_ms complete warnings error",
  rotate: "type command store selected total done rotated left failed blocked shard elapsed_ms complete warnings error",
  renew:
    "type command store total done renewed still_valid left failed blocked shard elapsed_ms complete warnings error",
  "rotate --finish":
    "type command store total done retired limits_restored failed shard elapsed_ms complete warnings error",
  leaked:
    "type command store total done contained replaced not_confirmed left failed shard elapsed_ms complete warnings error",
  reconcile: "type command store dry_run listed matched kept to_fix due fixed reported noted elapsed_ms complete error",
  rekey:
    "type command store dry_run total done resealed in_clear unreadable active_kid removable_kids elapsed_ms complete warnings error",
  copy: "type command store to total done copied kept conflicts verified unverified in_clear journals blocked to_total dry_run elapsed_ms complete warnings error",
  provision:
    "type command store total done made had_a_key left failed blocked shard elapsed_ms complete warnings error",
  purge:
    "type command store total done purged had_earlier_keys had_no_key failed blocked kept revoked_keys shard elapsed_ms complete warnings error",
  unblock: "type command store total done unblocked was_not_blocked failed shard elapsed_ms complete warnings error",
};
const ERROR = "code exit_code message hint retryable";
const TIMES = [
  "created_at",
  "updated_at",
  "last_validated",
  "checked_at",
  "expires_at",
  "last_used_at",
  "last_renewal_at",
];

function fieldsOf(value: object): string {
  return Object.keys(value).join(" ");
}

/** The fields that this document must have, in their order. */
function expectedFields(verb: string, document: Record<string, unknown>): string | undefined {
  if ("count" in document) return "count error";
  if (document["type"] === "summary") return SUMMARIES[verb];
  if (document["type"] === "key") return `type line ${FIELDS[verb]}`;
  return document["type"] === "user" ? `type ${FIELDS[verb]}` : FIELDS[verb];
}

function verbOf([verb = "", ...flags]: readonly string[]): string {
  const flag = ["--finish", "--dry-run"].find(
    (one) => flags.includes(one) && `${verb} ${one}` in { ...FIELDS, ...SUMMARIES },
  );
  return flag === undefined ? verb : `${verb} ${flag}`;
}

describe.each([...OUTCOMES, ...REFUSALS])("$title", ({ args, exit, error, given, options }) => {
  it(`exits with ${exit}, and its hints name only what this version has`, async () => {
    const home = emptyHome();
    await given?.(home);
    const run = await inProcess(home, args, options);
    expect(run.code).toBe(exit);
    expect(/^error: /m.test(run.stderr)).toBe(error !== null);
    expect(run.stderr).not.toContain("undefined");
    expect(await unknownWordsIn(run.stderr, args[0], home)).toEqual([]);
    // Without a command, the help is printed, too.
    if (args.length > 0 && REFUSALS.some((refusal) => refusal.args === args)) expect(run.stdout).toBe("");
  });
});

describe.each(OUTCOMES)("the documents of $title", ({ args, exit, error, given, options }) => {
  it(`have every field in its order and end with ${error ?? "no error"}`, async () => {
    const home = emptyHome();
    await given?.(home);
    const run = await inProcess(home, ["--json", ...args], options);
    const documents = documentsOf(run);
    for (const document of documents) {
      const isRefused = fieldsOf(document) === "error";
      if (!isRefused) expect(fieldsOf(document)).toBe(expectedFields(verbOf(args), document));
      if (isRefused) expect(documents).toHaveLength(1);
      for (const [name, value] of Object.entries(document)) {
        if (value === null) continue;
        if (name === "key_hash") expect(value).toMatch(/^[0-9a-f]{64}$/);
        if (name === "key") expect(value).toMatch(/^\*{15}[A-Za-z0-9_-]{4}$/);
        if (TIMES.includes(name)) expect(value).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        if (name === "error") expect(fieldsOf(value as object)).toBe(ERROR);
      }
    }
    expect(errorOf(run)?.code ?? null).toBe(error);
    expect([run.code, errorOf(run)?.exit_code ?? 0]).toEqual([exit, exit]);
  });
});

describe.each(REFUSALS)("the document of $title", ({ args, exit, error, given, options }) => {
  it("is the error alone, wherever --json stands", async () => {
    const home = emptyHome();
    await given?.(home);
    const [first, ...rest] = args;
    const lines =
      first === undefined
        ? [["--json"]]
        : [
            ["--json", ...args],
            [first, "--json", ...rest],
            [...args, "--json"],
          ];
    for (const line of lines) {
      const run = await inProcess(home, line, options);
      expect(run.code).toBe(exit);
      const [document, ...more] = documentsOf(run);
      expect(more).toEqual([]);
      expect(fieldsOf(document ?? {})).toBe("error");
      expect(document?.["error"]).toMatchObject({ code: error, exit_code: exit });
    }
  });
});

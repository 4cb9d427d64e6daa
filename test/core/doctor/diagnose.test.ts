import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { StoreStats } from "../../../src/core/doctor/store-stats.ts";
import { diagnose, diagnoseWithout } from "../../../src/core/doctor/diagnose.ts";
import type { CheckId } from "../../../src/core/doctor/diagnose.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { NO_DUTIES } from "../../../src/core/model/duties.ts";
import type { DoctorFacts, MasterKeyFacts, Probe } from "../../../src/core/doctor/collect-facts.ts";
import type { HostFacts } from "../../../src/core/doctor/checks/machine.ts";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import type { SourceReading, StoreFacts } from "../../../src/core/ports/stores-and-sources.ts";
import type { Credits, KeyCheck, Unknown } from "../../../src/core/ports/openrouter.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { NOT_SAID } from "../../../src/core/model/verdict.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";
import { KEY } from "../../support/fixtures/keys.ts";

const active = masterKey(randomBytes(32));
const old = masterKey(randomBytes(32));
const zeros = masterKey(Buffer.alloc(32));
const sealer = createSealer(active, [old]);
const [ACTIVE, OLD] = [active.kid.slice(0, 8), old.kid.slice(0, 8)];
const nobody = { count: 0, first: [] };
const users = (count: number, ...names: readonly string[]) => ({ count, first: names.map(parseUserId) });
const known = <Value>(value: Value): Probe<Value> => ({ status: "known", value });
const late = { status: "late" } as const;
const failed = (code: "STORE_UNAVAILABLE" | "CONFIG_INVALID" | "CONFIG_CONFLICT", hint = "do this"): Probe<never> => ({
  status: "failed",
  error: new KeyctlError(code, `this is ${code}`, { hint }),
});

const census = (change: Partial<StoreStats> = {}): Probe<StoreStats> =>
  known({
    total: 5012,
    sealed: 5012,
    clear: nobody,
    unreadable: nobody,
    twins: nobody,
    withManagementKey: nobody,
    blocked: { count: 0, withKey: nobody },
    unopened: null,
    kids: new Map([[active.kid, 5012]]),
    isComplete: true,
    ...change,
  });
const masterKeys = (change: Partial<MasterKeyFacts> = {}): Probe<MasterKeyFacts> =>
  known({
    place: {
      from: "KEYCTL_MASTER_KEYS_FILE",
      isWritable: true,
      file: { path: "/run/secrets/kc", mode: 0o600, readableByOthers: false },
    },
    sealer: createSealer(active),
    checks: [{ kid: active.kid, opens: true }],
    mayGenerate: false,
    ...change,
  });
const server = (change: Partial<StoreFacts> = {}): Probe<StoreFacts> =>
  known({
    server: "MongoDB 8.0.4",
    details: ["replica set rs0", "index present"],
    refusal: null,
    problems: [],
    ...change,
  });
const source = (reading: SourceReading, place = "OPENROUTER_API_KEY") => known({ place, reading, warnings: [] });
const absent: SourceReading = { status: "absent" };

const facts = (change: Partial<DoctorFacts> = {}): DoctorFacts => ({
  storeExists: true,
  deep: false,
  requireSealed: true,
  count: known(5012),
  server: server(),
  masterKeys: masterKeys(),
  census: census(),
  keyFile: source(absent),
  environment: source(absent),
  managementKey: known({ status: "none", isNeeded: false }),
  account: { status: "skipped" },
  openRouter: known({ reach: { status: "reached", elapsedMs: 182, serverTime: undefined }, skewMs: 400 }),
  provisioning: known(null),
  spooled: known({ own: 0, elsewhere: 0 }),
  duties: known(NO_DUTIES),
  ...change,
});
const surroundings = (change: Partial<HostFacts> = {}): HostFacts => ({
  storeLabel: "mongodb://db.prod/keyctl (from KEYCTL_STORE)",
  keyFile: { path: "key.txt", mode: null, readableBy: null, isTracked: false },
  variables: ["KEYCTL_STORE", "OPENROUTER_API_KEY"],
  asksForNoVerification: false,
  otherKeyctl: null,
  ...change,
});

/** Each line of a check as `status: message (hint)`. */
function said(
  id: CheckId,
  changedFacts: Partial<DoctorFacts> = {},
  changed: Partial<HostFacts> = {},
): readonly string[] {
  const findings = diagnose(facts(changedFacts), surroundings(changed)).filter((finding) => finding.id === id);
  return findings.map(
    (finding) => `${finding.status}: ${finding.message}${finding.status === "pass" ? "" : ` (${finding.hint})`}`,
  );
}

/** What a run would end with. */
function causeOf(id: CheckId, changed: Partial<DoctorFacts>): string | null | undefined {
  const finding = diagnose(facts(changed), surroundings()).find((each) => each.id === id && each.status === "fail");
  return finding?.status === "fail" ? (finding.cause?.code ?? null) : undefined;
}

describe("the account of the management key", () => {
  const asked = known({
    status: "asked" as const,
    check: { ...NOT_SAID, status: "accepted" as const, isManagementKey: true },
    credits: null,
  });
  const say = (account: DoctorFacts["account"], count = known(5012)) =>
    said("management_key", { managementKey: asked, account, count });
  const hint =
    "(set OPENROUTER_PROVISIONING_KEY_FILE to a management key of the database's account; or   keyctl reconcile --adopt-account)";

  it("is not spoken of where it is the store's, or nothing can be compared", () => {
    const accepted = ["pass: accepted by OpenRouter"];
    expect(say(known({ status: "ours", unboundKey: null }))).toEqual(accepted);
    expect(say(known({ status: "unbound" }))).toEqual(accepted);
    expect(say({ status: "skipped" })).toEqual(accepted);
  });

  it("is a failure where it is another one", () => {
    const other = "fail: it belongs to another account than this database";
    expect(say(known({ status: "other" }))).toEqual([`${other}: it sees 0 of your 5,012 keys ${hint}`]);
    expect(say(known({ status: "other" }), known(0))).toEqual([`${other} ${hint}`]);
    expect(causeOf("management_key", { managementKey: asked, account: known({ status: "other" }) })).toBeNull();
  });

  it("is worth a look where it is not known, or was not looked at", () => {
    expect(say(known({ status: "unknown", detail: "answered 403" }))).toEqual([
      "attention: accepted, but its account is not known: OpenRouter answered 403 (until it is known, no key counts as deleted because it is missing; keyctl doctor   checks again)",
    ]);
    expect(say(late)).toEqual(["attention: not checked: timed out (keyctl doctor --timeout 2m)"]);
    expect(say(failed("CONFIG_INVALID"))).toEqual(["fail: this is CONFIG_INVALID (do this)"]);
  });
});

describe("a diagnosis", () => {
  it("has a line for each check, in order, when all is well", () => {
    expect(diagnose(facts(), surroundings()).map(({ id, status, message }) => [id, status, message])).toEqual([
      ["store", "pass", "mongodb://db.prod/keyctl (from KEYCTL_STORE), 5,012 keys"],
      ["server", "pass", "MongoDB 8.0.4, replica set rs0, index present, writable"],
      ["encryption", "pass", "5,012 keys, all sealed"],
      ["master_keys", "pass", "1, from KEYCTL_MASTER_KEYS_FILE (/run/secrets/kc, mode 0600)"],
      ["management_key", "pass", "none, and automatic creation is off (KEYCTL_AUTO_PROVISION)"],
      ["openrouter", "pass", "reachable, 182 ms, clock within 1 s"],
      ["key_file", "pass", "./key.txt: none"],
      ["environment", "pass", "KEYCTL_STORE, OPENROUTER_API_KEY"],
      ["path", "pass", "no other keyctl"],
    ]);
  });

  it("leaves out what a store that fails cannot tell, and looks at the rest", () => {
    const skipped = { status: "skipped" } as const;
    const down = facts({ count: failed("STORE_UNAVAILABLE"), server: skipped, census: skipped });
    expect(diagnose(down, surroundings()).map(({ id, status }) => `${id} ${status}`)).toEqual([
      "store fail",
      "master_keys pass",
      "management_key pass",
      "openrouter pass",
      "key_file pass",
      "environment pass",
      "path pass",
    ]);
  });

  it("says of a check that it was not made in time", () => {
    const hint = "(keyctl doctor --timeout 2m)";
    const message = `attention: not checked: timed out ${hint}`;
    expect(said("server", { server: late })).toEqual([message]);
    expect(said("encryption", { census: late })).toEqual([message]);
    expect(said("key_file", { keyFile: late })).toEqual([message]);
    expect(said("store", { count: late })).toEqual([
      `fail: mongodb://db.prod/keyctl (from KEYCTL_STORE) did not answer in time ${hint}`,
    ]);
    expect(causeOf("store", { count: late })).toBe("STORE_UNAVAILABLE");
  });
});

describe("the store and its server", () => {
  it("that is not there yet is worth a look", () => {
    expect(said("store", { storeExists: false, count: known(0) })).toEqual([
      "attention: no store exists yet at mongodb://db.prod/keyctl (from KEYCTL_STORE) (keyctl sync --user <id>   creates it)",
    ]);
  });

  it("that takes no writes has failed", () => {
    const refusal = new KeyctlError("STORE_DENIED", "the user may not write", { hint: "give it the role readWrite" });
    expect(said("server", { server: server({ refusal }) })).toEqual([
      "fail: MongoDB 8.0.4, replica set rs0, index present, not writable: the user may not write (give it the role readWrite)",
    ]);
    expect(causeOf("server", { server: server({ refusal }) })).toBe("STORE_DENIED");
  });

  it("says what the store says of itself", () => {
    const problems = [
      { isFailure: false, message: "updates are not atomic", hint: "use MongoDB" },
      { isFailure: true, message: "an index is missing", hint: "make it" },
    ];
    expect(said("server", { server: server({ problems }) }).slice(1)).toEqual([
      "attention: updates are not atomic (use MongoDB)",
      "fail: an index is missing (make it)",
    ]);
  });
});

describe("encryption", () => {
  it.each<readonly [string, Partial<DoctorFacts>, line: string]>([
    ["no keys", { census: census({ total: 0, sealed: 0, kids: new Map() }) }, "pass: no keys yet"],
    ["one key", { census: census({ total: 1 }) }, "pass: 1 key, sealed"],
    [
      "one key, opened",
      { deep: true, census: census({ total: 1, unopened: nobody }) },
      "pass: 1 key, sealed, and it opens",
    ],
    [
      "all keys, opened",
      { deep: true, census: census({ unopened: nobody }) },
      "pass: 5,012 keys, all sealed, and all of them open",
    ],
    [
      "keys in plain text, where programs may read them",
      { requireSealed: false, census: census({ clear: users(14, "alice") }) },
      "fail: 14 keys are stored in plain text (keyctl rekey)",
    ],
    [
      "one key in clear, where programs may read it",
      { requireSealed: false, census: census({ clear: users(1, "alice") }) },
      "fail: 1 key is stored in plain text (keyctl rekey)",
    ],
    [
      "keys in plain text, where all are to be sealed",
      { census: census({ clear: users(14, "alice", "bob") }) },
      "fail: 14 keys are stored in plain text and not used: alice, bob and 12 more; see that https://openrouter.ai/keys lists them as yours (keyctl rekey)",
    ],
    [
      "an older key in plain text in the log",
      { plainText: known({ files: ["/srv/keys.db-wal"], tooLarge: null }) },
      "attention: no row holds a key in plain text, and an older one is still on disk, in /srv/keys.db-wal (keyctl rekey --keep-key   removes it, once no other program holds the database)",
    ],
    [
      "an older key in plain text in a file that rekey does not rewrite",
      { plainText: known({ files: ["/srv/my keys.db"], tooLarge: "/srv/my keys.db" }) },
      "attention: no row holds a key in plain text, and an older one is still on disk, in /srv/my keys.db (sqlite3 '/srv/my keys.db' VACUUM   removes it, once no other program holds the database)",
    ],
    [
      "nothing in plain text, where programs could read it",
      { requireSealed: false },
      "pass: 5,012 keys, all sealed; KEYCTL_REQUIRE_SEALED=1 refuses keys that others write in plain text",
    ],
    [
      "rows that hold no key",
      { census: census({ unreadable: users(1, "o'brien") }) },
      "fail: 1 row holds no key: o'brien (keyctl save --user 'o'\\''brien' --replace)",
    ],
    [
      "rows that do not open",
      { deep: true, census: census({ unopened: users(1207, "alice", "bob") }) },
      "fail: 1,207 rows cannot be decrypted: alice, bob and 1,205 more (keyctl save --user alice --replace)",
    ],
    [
      "users with two rows",
      { census: census({ twins: users(2, "alice", "bob") }) },
      "fail: 2 users have two rows: alice, bob (delete the unwanted rows with another tool; keyctl changes neither)",
    ],
    [
      "a user with the management key",
      { census: census({ withManagementKey: users(1, "alice") }) },
      "fail: 1 user has the management key, which is not handed out: alice (keyctl save --user alice --replace)",
    ],
    [
      "a census that was cut off",
      { deep: true, census: census({ total: 1200, isComplete: false, unopened: nobody }) },
      "attention: only 1,200 of 5,012 rows were checked: timed out (keyctl doctor --deep --timeout 10m)",
    ],
    [
      "rows that could not be opened",
      { deep: true, census: census() },
      "attention: no row was decrypted: no master key here fits this database " +
        "(keyctl help environment   lists the places that master keys are read from)",
    ],
  ])("says of %s what there is to say", (_, changed, line) => {
    expect(said("encryption", changed)).toEqual([line]);
  });
});

describe("master keys", () => {
  const none = { sealer: undefined, checks: [], mayGenerate: true };
  const empty = census({ total: 0, sealed: 0, kids: new Map() });
  const twoKeys = { sealer, checks: [{ kid: active.kid, opens: true }] };

  it.each<readonly [string, Partial<DoctorFacts>, line: string, cause: string | null | undefined]>([
    [
      "are made by the first save where they may be",
      {
        masterKeys: masterKeys({
          ...none,
          place: { from: "/m.json", isWritable: true, file: { path: "/m.json", mode: null, readableByOthers: false } },
        }),
        census: empty,
      },
      "pass: none yet: the first save creates one in /m.json",
      undefined,
    ],
    [
      "are missed where they may not be made",
      { masterKeys: masterKeys({ ...none, mayGenerate: false }), census: empty },
      "fail: none: no key can be saved (keyctl rekey --init   creates one, and tells how to share it)",
      "MASTER_KEY_MISSING",
    ],
    [
      "are missed by a store that is sealed",
      { masterKeys: masterKeys({ ...none, checks: [{ kid: "x", opens: false }] }) },
      "fail: none, and the database is sealed: no key can be used (restore master-keys.json from its backup to /run/secrets/kc, or set KEYCTL_MASTER_KEYS_FILE)",
      "MASTER_KEY_MISSING",
    ],
    [
      "may be the wrong ones",
      { masterKeys: masterKeys({ checks: [{ kid: "x", opens: false }] }) },
      "fail: those from KEYCTL_MASTER_KEYS_FILE are not the ones that this database is sealed with " +
        "(those that were tried are from /run/secrets/kc, and it needs the one with the kid x\n" +
        "      keyctl help environment   lists the places that master keys are read from)",
      "MASTER_KEY_WRONG",
    ],
    [
      "may be unusable",
      { masterKeys: failed("CONFIG_INVALID") },
      "fail: this is CONFIG_INVALID (do this)",
      "CONFIG_INVALID",
    ],
    [
      "may lack one that rows are sealed with",
      {
        census: census({
          kids: new Map([
            [active.kid, 5009],
            ["0123456789", 3],
          ]),
        }),
      },
      "fail: 3 keys are sealed with master key 01234567…, which is not here (add that master key to KEYCTL_MASTER_KEYS_FILE, behind the first)",
      "MASTER_KEY_MISSING",
    ],
    [
      "are two while a rekey is under way",
      {
        masterKeys: masterKeys({
          sealer,
          checks: [
            { kid: active.kid, opens: true },
            { kid: old.kid, opens: true },
          ],
        }),
      },
      "attention: the database is sealed with 2 master keys: a rekey is not finished (keyctl rekey)",
      undefined,
    ],
    [
      "may hold one that nothing uses",
      { masterKeys: masterKeys(twoKeys) },
      `attention: ${OLD}… is used by nothing in this database (unless another database or a backup needs it: keyctl rekey --retire=${old.kid})`,
      undefined,
    ],
    [
      "may hold one that nothing uses, where keyctl cannot take it out",
      {
        masterKeys: masterKeys({ ...twoKeys, place: { from: "KEYCTL_MASTER_KEYS", isWritable: false, file: null } }),
      },
      `attention: ${OLD}… is used by nothing in this database (unless another database or a backup needs it: remove it from KEYCTL_MASTER_KEYS)`,
      undefined,
    ],
    [
      "may begin with one that anybody can guess",
      {
        masterKeys: masterKeys({
          sealer: createSealer(zeros),
          guessableKids: [zeros.kid],
          checks: [{ kid: zeros.kid, opens: true }],
        }),
        census: census({ kids: new Map([[zeros.kid, 5012]]) }),
      },
      `fail: ${zeros.kid.slice(0, 8)}… follows a pattern: anybody can guess it, and open what it seals (keyctl rekey)`,
      null,
    ],
    [
      "may begin with one that seals nothing yet",
      {
        masterKeys: masterKeys({ sealer, checks: [{ kid: old.kid, opens: true }] }),
        census: census({ kids: new Map([[old.kid, 5012]]) }),
      },
      `attention: the first, ${ACTIVE}…, seals nothing yet (keyctl rekey)`,
      undefined,
    ],
    [
      "are not called unused by a census that was cut off",
      { masterKeys: masterKeys(twoKeys), census: census({ isComplete: false }) },
      "pass: 2, from KEYCTL_MASTER_KEYS_FILE (/run/secrets/kc, mode 0600)",
      undefined,
    ],
    [
      "may be readable by others",
      {
        masterKeys: masterKeys({
          place: {
            from: "/m y.json",
            isWritable: true,
            file: { path: "/m y.json", mode: 0o644, readableByOthers: true },
          },
        }),
      },
      "attention: /m y.json can be read by other users of this machine (0644) (chmod 600 '/m y.json')",
      undefined,
    ],
    [
      "come from a variable without a file",
      { masterKeys: masterKeys({ place: { from: "KEYCTL_MASTER_KEYS", isWritable: false, file: null } }) },
      "pass: 1, from KEYCTL_MASTER_KEYS",
      undefined,
    ],
  ])("%s", (_, changed, line, cause) => {
    expect(said("master_keys", changed)).toEqual([line]);
    expect(causeOf("master_keys", changed)).toBe(cause);
  });
});

describe("key.txt", () => {
  const file = { path: "key.txt", mode: 0o600, readableBy: null, isTracked: false };
  const holding: SourceReading = { status: "found", key: ApiKey.parse(KEY) as ApiKey };
  const missing: DoctorFacts["keyFile"] = known({
    place: "/srv/key",
    reading: { status: "missing" },
    warnings: [{ code: "KEY_FILE_MISSING", message: "it does not exist" }],
  });

  it.each<readonly [string, DoctorFacts["keyFile"], Partial<HostFacts["keyFile"]>, line: string]>([
    ["that holds a key", source(holding), {}, "pass: ./key.txt: one key (mode 0600)"],
    [
      "that a group can read and git keeps",
      source(holding),
      { mode: 0o640, readableBy: "group", isTracked: true },
      "attention: ./key.txt: readable by group (0640), tracked by git (chmod 600 key.txt && git rm --cached key.txt)",
    ],
    [
      "in another folder",
      source(holding),
      { path: "../a b/key.txt", mode: 0o644, readableBy: "others" },
      "attention: ../a b/key.txt: readable by others (0644) (chmod 600 '../a b/key.txt')",
    ],
    [
      "that holds no key",
      source({ status: "malformed", detail: "holds two lines" }),
      {},
      "attention: ./key.txt: holds two lines (put one key in key.txt, or remove it)",
    ],
    [
      "that cannot be read",
      source({ status: "unreadable", reason: "permission denied" }),
      {},
      "attention: ./key.txt: could not be read: permission denied (put one key in key.txt, or remove it)",
    ],
    [
      "that holds the management key",
      source({ status: "management-key" }),
      {},
      "fail: ./key.txt: holds the management key (put one key in key.txt, or remove it)",
    ],
    [
      "that was named and is not there",
      missing,
      { path: "/srv/key", mode: null },
      "attention: /srv/key: does not exist (check --key-file and KEYCTL_KEY_FILE)",
    ],
  ])("%s", (_, keyFile, changed, line) => {
    expect(said("key_file", { keyFile }, { keyFile: { ...file, ...changed } })).toEqual([line]);
  });
});

describe("the environment and the PATH", () => {
  it("names what is set, and nothing of what it holds", () => {
    expect(said("environment", {}, { variables: [] })).toEqual(["pass: no variable of keyctl is set"]);
  });

  it("says that certificates are verified although a variable asks not to, with and without a configuration", () => {
    const changed = { variables: [], asksForNoVerification: true };
    const line =
      "attention: NODE_TLS_REJECT_UNAUTHORIZED=0 is set and ignored: certificates are still verified " +
      "(unset NODE_TLS_REJECT_UNAUTHORIZED; NODE_EXTRA_CA_CERTS=<file> names an authority of your own)";
    expect(said("environment", {}, changed)).toEqual([line, "pass: no variable of keyctl is set"]);
    const without = diagnoseWithout(new KeyctlError("CONFIG_EMPTY", "x"), surroundings(changed));
    expect(without.map(({ id, status }) => [id, status])).toEqual([
      ["configuration", "fail"],
      ["environment", "attention"],
      ["environment", "pass"],
      ["path", "pass"],
    ]);
  });

  it("says what would end a sync", () => {
    const malformed = source({ status: "malformed", detail: "does not hold one well-formed key" });
    expect(said("environment", { environment: malformed })).toEqual([
      "attention: OPENROUTER_API_KEY does not hold one well-formed key (unset OPENROUTER_API_KEY, or set it anew)",
      "pass: KEYCTL_STORE, OPENROUTER_API_KEY",
    ]);
    const misplaced = source({ status: "management-key" }, "OPENROUTER_API_KEY_FILE");
    expect(said("environment", { environment: misplaced })[0]).toBe(
      "fail: OPENROUTER_API_KEY_FILE holds the management key (unset OPENROUTER_API_KEY_FILE, or set it anew)",
    );
    expect(said("management_key", { managementKey: failed("CONFIG_CONFLICT") })).toEqual([
      "fail: this is CONFIG_CONFLICT (do this)",
    ]);
  });

  it.each([
    ["/usr/bin/keyctl", "the Linux keyutils tool"],
    ["/bin/keyctl", "the Linux keyutils tool"],
    ["/opt/x/keyctl", "another program"],
  ])("knows %s for %s", (otherKeyctl, what) => {
    expect(said("path", {}, { otherKeyctl })).toEqual([
      `attention: ${otherKeyctl} is ${what}, not this one (use openrouter-keyctl)`,
    ]);
  });
});

const asked = (check: KeyCheck, credits: Credits | null = null) =>
  said("management_key", { managementKey: known({ status: "asked", check, credits }) });

describe("OpenRouter and the management key", () => {
  const accepted: KeyCheck = { ...NOT_SAID, status: "accepted", isManagementKey: true };
  const silent: Unknown = {
    status: "unknown",
    reason: "timed_out",
    httpStatus: null,
    attempts: 1,
    detail: "did not answer in time",
    remedy: undefined,
  };
  it("is worth a look without one, where keys are to be made", () => {
    const [line = ""] = said("management_key", { managementKey: known({ status: "none", isNeeded: true }) });
    expect(line).toMatch(/^attention: none: sync cannot provision, purge --revoke refuses/);
  });

  it("says what is left, and no balance that is not known", () => {
    expect(asked(accepted, { status: "known", total: 20, used: 7.5 })).toEqual([
      "pass: accepted by OpenRouter, $12.50 of $20.00 left",
    ]);
    expect(asked(accepted, { status: "unavailable" })).toEqual(["pass: accepted by OpenRouter"]);
  });

  it("fails with an ordinary key in its place, and with one that is refused, but not when nobody can tell", () => {
    expect(asked({ ...accepted, isManagementKey: false })[0]).toMatch(/^fail: it is an ordinary key/);
    expect(asked({ status: "refused", detail: "answered 401" })[0]).toMatch(/^fail: OpenRouter refuses it/);
    expect(asked(silent)[0]).toMatch(/^attention: could not be checked: OpenRouter did not answer in time/);
  });

  it.each([
    [60_000, "pass: reachable, 182 ms, clock within 60 s"],
    [
      60_001,
      "attention: reachable, 182 ms, but its clock and this machine's differ by 61 s (set this machine's clock)",
    ],
    [undefined, "pass: reachable, 182 ms"],
  ])("compares the clocks: %s ms apart", (skewMs, line) => {
    const reach = { status: "reached", elapsedMs: 182, serverTime: undefined } as const;
    expect(said("openrouter", { openRouter: known({ reach, skewMs }) })).toEqual([line]);
  });

  it("is worth a look when it cannot be reached", () => {
    const [line = ""] = said("openrouter", { openRouter: known({ reach: silent, skewMs: undefined }) });
    expect(line).toMatch(/^attention: OpenRouter did not answer in time/);
  });

  it("says what to do where that is known", () => {
    const remedy = { hint: "check the proxy", isRequired: true };
    const [line = ""] = said("openrouter", { openRouter: known({ reach: { ...silent, remedy }, skewMs: undefined }) });
    expect(line).toBe("attention: OpenRouter did not answer in time (check the proxy)");
    expect(asked({ ...silent, remedy })[0]).toMatch(/\(check the proxy\)$/);
  });

  it("names keys that wait on this machine", () => {
    expect(said("spool")).toEqual([]);
    expect(said("spool", { spooled: known({ own: 2, elsewhere: 0 }) })).toEqual([
      expect.stringMatching(/^attention: 2 keys could not be stored when created/),
    ]);
    expect(said("spool", { spooled: known({ own: 0, elsewhere: 1 }) })).toEqual([
      expect.stringMatching(/^attention: 1 key could not be stored when created, in another database/),
    ]);
  });
});

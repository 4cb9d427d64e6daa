import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { newRecord } from "../../../src/core/model/key-record.ts";
import type { KeyRecord, LastCheck } from "../../../src/core/model/key-record.ts";
import { knownExpiry } from "../../../src/core/model/known-terms.ts";
import { risksOf } from "../../../src/core/model/risks.ts";
import { storedKeyWarnings } from "../../../src/core/model/stored-key-warnings.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { KEY, OTHER } from "../../support/fixtures/keys.ts";

const NOW = Date.parse("2026-11-24T12:00:00.000Z");
const DAY = 86_400_000;
const at = (fromNowMs: number) => new Date(NOW + fromNowMs).toISOString();
const key = ApiKey.parse(KEY) as ApiKey;

const RECORD: KeyRecord = newRecord(parseUserId("alice"), {
  key,
  sealed: "eyJh.b.c.d.e",
  origin: "manual",
  now: at(-100 * DAY),
});
const row = (change: Partial<KeyRecord> = {}): KeyRecord => ({ ...RECORD, ...change });
const checked = (change: Partial<LastCheck> = {}): KeyRecord =>
  row({ lastCheck: { at: at(-DAY), verdict: "valid", reason: null, ...change } });
const codes = (record: KeyRecord) => storedKeyWarnings(record, NOW).map(({ code }) => code);

describe("the warnings of a stored key", () => {
  it.each<[string, KeyRecord, readonly string[]]>([
    ["nothing is known against", row(), []],
    ["was found to work", checked({ limit: 5, expiresAt: at(DAY) }), []],
    ["keyctl created, and that ended", row({ generation: 1, expiresAt: at(-1) }), ["KEY_EXPIRED"]],
    ["keyctl created, and that never ends", row({ generation: 1 }), []],
    ["ended as its last check said", checked({ expiresAt: at(-1) }), ["KEY_EXPIRED"]],
    ["ends at a time that cannot be read", row({ generation: 1, expiresAt: "2027-01-01" }), ["EXPIRY_UNKNOWN"]],
    ["was deleted", checked({ verdict: "invalid", reason: "deleted" }), ["KEY_KNOWN_INVALID"]],
    ["stands in plain text", row({ keyEncrypted: KEY }), ["KEY_IN_PLAIN_TEXT"]],
    ["is damaged", row({ keyEncrypted: "nonsense" }), []],
    ["was checked in the future", checked({ at: at(365 * DAY), verdict: "invalid" }), ["TIME_IN_FUTURE"]],
    ["was found valid in the future", row({ lastValidated: at(365 * DAY) }), ["TIME_IN_FUTURE"]],
    ["was stored in the future", row({ createdAt: at(365 * DAY) }), ["TIME_IN_FUTURE"]],
    ["was checked by a clock that is five minutes ahead", checked({ at: at(300_000) }), []],
  ])("that %s", (_name, record, expected) => {
    expect(codes(record)).toEqual(expected);
  });

  it("are not those of the key that another program has written over", () => {
    const invalid = checked({ verdict: "invalid", reason: "deleted", expiresAt: at(-DAY) });
    const other = (ApiKey.parse(OTHER) as ApiKey).hash;
    expect(storedKeyWarnings(invalid, NOW, other)).toEqual([]);
    expect(storedKeyWarnings(invalid, NOW, key.hash).map(({ code }) => code)).toEqual([
      "KEY_EXPIRED",
      "KEY_KNOWN_INVALID",
    ]);
  });

  it("each name the user, one that a shell may read, and the command that helps", () => {
    const user = parseUserId("o'neil; rm");
    const bad = { ...checked({ verdict: "invalid", expiresAt: at(-DAY) }), userId: user, keyEncrypted: KEY };
    const messages = storedKeyWarnings(bad, NOW).map(({ message }) => message);
    expect(messages).toHaveLength(3);
    for (const message of messages) {
      expect(message).toContain("the key of user o'neil; rm");
      expect(message).toMatch(/keyctl ((?:validate|renew) --user 'o'\\''neil; rm'|rekey) {3}/);
      expect(message).not.toContain(KEY);
    }
  });

  it("cost a row without any nothing: the same empty list comes back", () => {
    const rows = [row(), checked(), row({ generation: 3, expiresAt: at(DAY) })];
    expect(new Set(rows.map((record) => storedKeyWarnings(record, NOW))).size).toBe(1);
  });
});

describe("what is known of the end of a stored key", () => {
  const end = fc.constantFrom(undefined, null, at(-DAY), at(DAY), at(2 * DAY), "2027-01-01");

  it("is the earlier of what the row and its last check say, and unknown where one of them cannot be read", () => {
    fc.assert(
      fc.property(end, end, fc.constantFrom(0, 1), (given = null, said, generation) => {
        const lastCheck = said === undefined ? checked().lastCheck : checked({ expiresAt: said }).lastCheck;
        const known = knownExpiry(row({ generation, expiresAt: given, lastCheck }));
        const told = [...(given === null && generation === 0 ? [] : [given]), ...(said === undefined ? [] : [said])];
        const first = told.toSorted((one, other) => (one ?? "9").localeCompare(other ?? "9"))[0];
        expect(known).toBe(told.includes("2027-01-01") ? "2027-01-01" : first);
      }),
    );
  });
});

describe("the risks of a stored key", () => {
  it.each<[string, KeyRecord, readonly string[]]>([
    ["was never checked, and came from a person", row(), []],
    ["keyctl created without bounds", row({ generation: 1 }), ["no-limit", "never-expires"]],
    ["got a limit since", { ...checked({ limit: 5, expiresAt: at(DAY) }), generation: 1 }, []],
    ["has no bounds as of its check", checked({ limit: null, expiresAt: null }), ["no-limit", "never-expires"]],
    ["ends at an unknown time", checked({ limit: 5, expiresAt: "soon" }), []],
    ["has spent its limit", checked({ limit: 5, limitRemaining: 0, expiresAt: at(DAY) }), ["limit-used-up"]],
    ["is blocked by a budget", checked({ limit: 5, limitRemaining: 3, blockedBy: "workspace" }), ["limit-used-up"]],
    ["is blocked by none", checked({ limit: 5, limitRemaining: 3, blockedBy: null }), []],
    ["was used 91 days before its check", checked({ lastUsedAt: at(-92 * DAY) }), ["idle-90d"]],
    ["was used 80 days before its check", checked({ lastUsedAt: at(-81 * DAY) }), []],
    ["was never used since it was stored 99 days before", checked({ lastUsedAt: null }), ["idle-90d"]],
    ["was never used, and is new", { ...checked({ lastUsedAt: null }), createdAt: at(-10 * DAY) }, []],
    ["does not work any more", checked({ verdict: "invalid", limit: null, expiresAt: null }), []],
  ])("that %s", (_name, record, risks) => {
    expect(risksOf(record).known).toEqual(risks);
  });

  it.each<[string, KeyRecord, readonly string[]]>([
    ["was never checked", row(), ["no-limit", "never-expires", "idle-90d", "limit-used-up"]],
    ["answered itself", checked({ limit: 5, expiresAt: null, limitRemaining: 5, blockedBy: null }), ["idle-90d"]],
    [
      "was in a listing",
      checked({ limit: 5, expiresAt: null, limitRemaining: 5, lastUsedAt: null }),
      ["limit-used-up"],
    ],
    [
      "was in a listing, with nothing left",
      checked({ limit: 5, expiresAt: null, limitRemaining: 0, lastUsedAt: null }),
      [],
    ],
    ["does not work any more", checked({ verdict: "invalid" }), []],
  ])("that the last check did not tell, of a key that %s", (_name, record, unknown) => {
    expect(risksOf(record).unknown).toEqual(unknown);
  });
});

import { describe, expect, it } from "vitest";
import type { Entry } from "../../../src/core/ports/journal.ts";
import { foldJournal, projectSettlement, classifyKey } from "../../../src/core/reconcile/classify-key.ts";
import type { KeyState } from "../../../src/core/reconcile/classify-key.ts";
import { keyNameOf, parseKeyName } from "../../../src/core/model/key-name.ts";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { newRecord } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import { previousOf } from "../../../src/core/protocol/settle-row.ts";
import type { UpstreamKey } from "../../../src/core/ports/openrouter.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { keyEnding } from "../../support/fixtures/keys.ts";

const NOW = Date.parse("2026-11-22T02:14:07.113Z");
const alice = parseUserId("alice");
const deployment = "9f2c0a7d41b6e853";
const nonceOf = (n: number) => String(n).padStart(16, "0");
const keyOf = (n: number) => ApiKey.parse(keyEnding(`a00${n}`)) as ApiKey;

function upstream(n: number, change: Partial<UpstreamKey> = {}): UpstreamKey {
  const name = keyNameOf(deployment, alice, { n, nonce: nonceOf(n) });
  const terms = { limit: null, limitRemaining: null, limitReset: null, expiresAt: null };
  const rest = {
    disabled: false,
    includeByokInLimit: false,
    usageToday: 0,
    createdAt: null,
    lastUsedAt: null,
    workspace: null,
  };
  return { hash: keyOf(n).hash, name, ...terms, ...rest, ...change };
}

const AGE_MS = 300_000;
type Noted = Entry & { readonly ageMs?: number };

const NO_LIMITS = {
  label: null,
  limit: null,
  limitReset: null,
  expiresAt: null,
  workspace: null,
  deliberate: false,
};
const op = (n: number, ageMs = AGE_MS): Noted => ({ kind: "op", n, nonce: nonceOf(n), ageMs, ...NO_LIMITS });
const saved = (n: number): Noted => ({ kind: "out", n, outcome: "saved", hash: keyOf(n).hash, upstreamHash: null });
const abandoned = (n: number): Noted => ({ kind: "out", n, outcome: "abandoned" });
const rev = (n: number, revoke: boolean): Noted => ({ kind: "rev", n, reason: "superseded", revoke, block: false });
const del = (n: number): Noted => ({ kind: "del", n });

function facts(...entries: readonly Noted[]) {
  return foldJournal(
    entries.map(({ ageMs = AGE_MS, ...entry }) => {
      const at = new Date(NOW - ageMs).toISOString();
      return { ...entry, userId: alice, at };
    }),
  );
}

function row(n: number, change: Partial<KeyRecord> = {}): KeyRecord {
  const made = newRecord(alice, {
    key: keyOf(n),
    sealed: "sealed",
    origin: "auto-provisioned",
    now: new Date(NOW).toISOString(),
  });
  return { ...made, generation: n, ...change };
}

const settledRow = (n: number) => row(n, { settled: true });
const rotated = (n: number, over: number) =>
  row(n, { settled: false, previous: previousOf(settledRow(over), { revoke: true, keyEncrypted: "sealed" }) });
const judged = (key: UpstreamKey, known: ReturnType<typeof facts>, stored?: KeyRecord): KeyState =>
  classifyKey(key, known, stored, { deployment, now: NOW });

describe("a key upstream", () => {
  it.each<readonly [string, readonly Noted[], KeyRecord | undefined, KeyState]>([
    ["saved and in the row", [op(1), saved(1)], settledRow(1), { kind: "keep", n: 1 }],
    ["saved, and what an unsettled row replaces", [op(1), saved(1), op(2)], rotated(2, 1), { kind: "keep", n: 1 }],
    ["saved, in no row", [op(1), saved(1)], undefined, { kind: "no-row", n: 1 }],
    ["saved, and another's row", [op(1), saved(1)], row(0), { kind: "no-row", n: 1 }],
    ["decided against", [op(1), abandoned(1)], undefined, { kind: "decided-against", n: 1 }],
    ["decided against, though its row stands", [op(1), abandoned(1)], row(1), { kind: "decided-against", n: 1 }],
    ["of a fresh operation", [op(1, 59_000)], undefined, { kind: "undecided", n: 1, isFresh: true }],
    [
      "of one that a clock ahead of ours wrote",
      [op(1, -59_000)],
      undefined,
      { kind: "undecided", n: 1, isFresh: true },
    ],
    ["of a stale operation", [op(1, 61_000)], undefined, { kind: "undecided", n: 1, isFresh: false }],
    ["owed", [op(1), saved(1), rev(1, true)], undefined, { kind: "owed", n: 1, retireAt: null }],
    ["kept", [op(1), saved(1), rev(1, false)], undefined, { kind: "kept", n: 1 }],
    ["owed after all", [op(1), saved(1), rev(1, false), del(1)], undefined, { kind: "owed", n: 1, retireAt: null }],
    [
      "owed, though its row stands",
      [op(1), saved(1), rev(1, true)],
      settledRow(1),
      { kind: "owed", n: 1, retireAt: null },
    ],
    ["without an operation", [], undefined, { kind: "unknown" }],
    // What is not enough to condemn it.
    ["followed by a newer operation alone", [op(1), saved(1), op(2)], settledRow(1), { kind: "keep", n: 1 }],
    [
      "followed by one that was decided against",
      [op(1), saved(1), op(2), abandoned(2)],
      settledRow(1),
      { kind: "keep", n: 1 },
    ],
    ["in no row, where a newer undecided one is", [op(1), saved(1), op(2)], row(2), { kind: "no-row", n: 1 }],
    // Only that a later one was saved is.
    ["followed by a saved one", [op(1), saved(1), op(2), saved(2)], settledRow(2), { kind: "superseded", n: 1 }],
    ["followed by a saved one that is in no row", [op(1), saved(1), saved(2)], undefined, { kind: "superseded", n: 1 }],
    ["followed by a saved one, and kept", [saved(1), rev(1, false), saved(2)], settledRow(2), { kind: "kept", n: 1 }],
  ])("%s", (_name, entries, stored, expected) => {
    expect(judged(upstream(1), facts(...entries), stored)).toEqual(expected);
  });

  it("is not superseded by what was saved before it", () => {
    expect(judged(upstream(2), facts(op(1), saved(1), op(2), saved(2)), settledRow(2))).toEqual({ kind: "keep", n: 2 });
  });

  it.each(["my own", "", `keyctl/${"0".repeat(16)}/2bd806c97f0e/7-${nonceOf(7)}`])(
    "is known by its recorded hash, whatever its name says: '%s'",
    (name) => {
      expect(judged(upstream(1, { name }), facts(op(1), saved(1)), settledRow(1))).toEqual({ kind: "keep", n: 1 });
    },
  );

  it("that has the name of a decided one is that one by its hash", () => {
    const { name } = upstream(1);
    const known = facts(op(1), abandoned(1), op(2), saved(2));
    expect(judged(upstream(2, { name }), known, settledRow(2))).toEqual({ kind: "keep", n: 2 });
  });

  it("with the name of a saved one and another hash came of an answer that was sent twice", () => {
    const known = facts(op(1), saved(1));
    expect(judged(upstream(1, { hash: "f".repeat(64) }), known, settledRow(1))).toEqual({
      kind: "decided-against",
      n: 1,
    });
  });

  it("is known by OpenRouter's own id where that is another", () => {
    const hash = "e".repeat(64);
    const known = facts(op(1), { kind: "out", n: 1, outcome: "saved", hash: keyOf(1).hash, upstreamHash: hash });
    expect(judged(upstream(1, { hash, name: "renamed" }), known, settledRow(1))).toEqual({ kind: "keep", n: 1 });
  });

  it.each([
    ["another deployment", { deployment: "0".repeat(16) }],
    ["another nonce", { nonce: "f".repeat(16) }],
    ["another user", { user: "bob" }],
    ["another number", { n: 2 }],
  ])("with %s in its name is nobody's that we know", (_name, change) => {
    const said = { deployment, user: "alice", n: 1, nonce: nonceOf(1), ...change };
    const name = keyNameOf(said.deployment, parseUserId(said.user), said);
    expect(judged(upstream(1, { name }), facts(op(1), abandoned(1)))).toEqual({ kind: "unknown" });
  });
});

describe("what settling would add", () => {
  it("makes a placed row current, and retires what it replaced", () => {
    const known = projectSettlement(rotated(2, 1), facts(op(1), saved(1), op(2)));
    expect(judged(upstream(2), known, rotated(2, 1))).toEqual({ kind: "keep", n: 2 });
    expect(judged(upstream(1), known, rotated(2, 1))).toEqual({ kind: "owed", n: 1, retireAt: null });
  });

  it("retires nothing for a row that was decided against", () => {
    const known = projectSettlement(rotated(2, 1), facts(op(1), saved(1), op(2), abandoned(2)));
    expect(judged(upstream(1), known, rotated(2, 1))).toEqual({ kind: "keep", n: 1 });
    expect(judged(upstream(2), known, rotated(2, 1))).toEqual({ kind: "decided-against", n: 2 });
  });

  it("keeps what a save has kept", () => {
    const replaced = row(0, {
      settled: false,
      previous: previousOf(settledRow(1), { revoke: false, keyEncrypted: null }),
    });
    const known = projectSettlement(replaced, facts(op(1), saved(1)));
    expect(judged(upstream(1), known, replaced)).toEqual({ kind: "kept", n: 1 });
  });
});

describe("a key's name", () => {
  it("is read back as it was given", () => {
    const said = { deployment, userPrefix: "2bd806c97f0e", n: 12, nonce: nonceOf(3) };
    expect(parseKeyName(keyNameOf(deployment, alice, said))).toEqual(said);
  });

  it.each([
    "keyctl",
    "",
    `keyctl/${deployment}/2bd806c97f0e/0-${nonceOf(1)}`,
    `keyctl/${deployment}/2bd806c97f0e/01-${nonceOf(1)}`,
    `keyctl/${deployment}/2bd806c97f0e/1-${nonceOf(1)} `,
    `KEYCTL/${deployment}/2bd806c97f0e/1-${nonceOf(1)}`,
    `x keyctl/${deployment}/2bd806c97f0e/1-${nonceOf(1)}`,
    `keyctl/${deployment}/2bd806c97f0e/123456789-${nonceOf(1)}`,
  ])("is nothing that keyctl gives: '%s'", (name) => {
    expect(parseKeyName(name)).toBeUndefined();
  });
});

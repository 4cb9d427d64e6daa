import { describe, expect, it } from "vitest";
import { JournalCopy } from "../../../src/core/copy/copy-journal.ts";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { newRecord } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import type { Entry, Recorded } from "../../../src/core/ports/journal.ts";
import type { UpstreamKey } from "../../../src/core/ports/openrouter.ts";
import { lookUpGiven } from "../../../src/core/protocol/given-key.ts";
import { requestRetainedDeletions, requestRetirements } from "../../../src/core/protocol/retained-keys.ts";
import { previousOf, revokePredecessor } from "../../../src/core/protocol/settle-row.ts";
import { classifyKey, foldJournal, projectSettlement } from "../../../src/core/reconcile/classify-key.ts";
import { keyEnding } from "../../support/fixtures/keys.ts";
import { memoryJournal } from "../../support/memory/journal.ts";
import { alice } from "../../support/memory/manager-over.ts";

const COMMITTED = "2026-11-24T12:00:00.000Z";
const END = "2026-11-24T12:10:00.000Z";
const GRACE_MS = 600_000;
const clock = { now: () => new Date("2026-11-26T12:00:00.000Z") };
const patience = new AbortController().signal;

const keyNumber = (n: number) => ApiKey.parse(keyEnding(`000${n}`)) as ApiKey;
const noted = (entry: Entry, at = COMMITTED): Recorded => ({ ...entry, userId: alice, at });
const saved = (n: number) => noted({ kind: "out", n, outcome: "saved", hash: keyNumber(n).hash, upstreamHash: null });
const due = (n: number) => noted({ kind: "due", n, retireAt: END });
const kept = (n: number) => noted({ kind: "rev", n, reason: "superseded", revoke: false, block: false });
const del = (n: number) => noted({ kind: "del", n });

async function journalWith(...entries: readonly Recorded[]) {
  const journal = memoryJournal();
  for (const entry of entries) await journal.insertEntry(entry, patience);
  const kinds = async () => (await journal.entries(alice, patience)).map(({ kind, n }) => `${kind}:${n}`);
  return { journal, clock, kinds };
}

function row(n: number, change: Partial<KeyRecord> = {}): KeyRecord {
  const made = { key: keyNumber(n), sealed: `sealed ${n}`, origin: "auto-provisioned", now: COMMITTED };
  return { ...newRecord(alice, made), generation: n, settled: true, ...change };
}

/** The row of generation 2, which replaced generation 1 with a grace and is not settled. */
const rotated = row(2, {
  settled: false,
  previous: previousOf(row(1), { revoke: false, graceMs: GRACE_MS, keyEncrypted: "sealed 1" }),
});

const revokedAtOnce = noted({ kind: "rev", n: 1, reason: "superseded", revoke: true, block: false });

function stateOf(entries: readonly Recorded[], now: string, stored: KeyRecord = row(2)) {
  // Only what tells the key apart.
  const key = { hash: keyNumber(1).hash, name: "renamed" } as UpstreamKey;
  return classifyKey(key, foldJournal(entries), stored, { deployment: "9f2c0a7d41b6e853", now: Date.parse(now) });
}

describe("a key in its grace", () => {
  it.each([
    ["is left until its time", [saved(1), saved(2), due(1), kept(1)], "2026-11-24T12:09:59.999Z", "retiring", false],
    ["is due at its time", [saved(1), saved(2), due(1), kept(1)], END, "retiring", true],
    ["is in a grace by that note alone", [saved(1), saved(2), due(1)], COMMITTED, "retiring", false],
  ] as const)("%s", (_, entries, now, kind, isDue) => {
    expect(stateOf(entries, now)).toEqual({ kind, n: 1, retireAt: END, isDue });
  });

  it.each([
    ["its deletion was requested", [saved(1), saved(2), due(1), kept(1), del(1)]],
    ["it was to be removed at once", [saved(1), saved(2), due(1), revokedAtOnce]],
  ])("is owed at once where %s, whatever the clock says", (_, entries) => {
    expect(stateOf(entries, COMMITTED)).toEqual({ kind: "owed", n: 1, retireAt: END });
  });
});

describe("the end of a grace", () => {
  it("counts from the recorded outcome, whoever settles the row and when", async () => {
    const { journal, kinds } = await journalWith(saved(1), saved(2));
    expect(await revokePredecessor(rotated, { journal, clock }, patience)).toBe(END);
    expect(await revokePredecessor(rotated, { journal, clock }, patience)).toBe(END);
    expect(await kinds()).toEqual(expect.arrayContaining(["due:1", "rev:1"]));
    expect(await journal.entry(alice, "rev", 1, patience)).toMatchObject({ revoke: false });
  });

  it("is what was recorded first", async () => {
    const { journal } = await journalWith(saved(1), saved(2), noted({ kind: "due", n: 1, retireAt: COMMITTED }));
    expect(await revokePredecessor(rotated, { journal, clock }, patience)).toBe(COMMITTED);
  });

  it("is foreseen by a plan as a command would record it", async () => {
    const before = [saved(1), saved(2)];
    const { journal } = await journalWith(...before);
    await revokePredecessor(rotated, { journal, clock }, patience);
    const after = foldJournal(await journal.entries(alice, patience));
    const foreseen = projectSettlement(rotated, foldJournal(before));
    expect(foreseen.due.get(1)?.retireAt).toBe(after.due.get(1)?.retireAt);
    expect(foreseen.rev.get(1)?.revoke).toBe(after.rev.get(1)?.revoke);
    expect([...foreseen.del]).toEqual([...after.del]);
  });

  it("is not foreseen for a rotation that was abandoned", () => {
    const abandoned = noted({ kind: "out", n: 2, outcome: "abandoned" });
    expect(projectSettlement(rotated, foldJournal([saved(1), abandoned])).due.size).toBe(0);
  });
});

describe("keys whose graces are ended early", () => {
  const entries = [saved(1), saved(2), saved(3), due(1), kept(1), due(2), kept(2), saved(4), kept(4)];

  it("are all that are in a grace, and no other key, where a rotation ends them", async () => {
    const { journal, kinds } = await journalWith(...entries, noted({ kind: "gone", n: 2 }));
    const ended = await requestRetirements(alice, 3, { journal, clock }, patience);
    expect(ended).toEqual([{ n: 1, keyHash: keyNumber(1).hash, upstreamId: keyNumber(1).hash }]);
    expect((await kinds()).filter((id) => id.startsWith("del"))).toEqual(["del:1"]);
  });

  it("are all that were kept as well, each once, where a purge ends them", async () => {
    const { journal, kinds } = await journalWith(...entries);
    const ended = await requestRetainedDeletions(alice, 3, { journal, clock }, patience);
    expect(ended.map(({ n }) => n).toSorted((a, b) => a - b)).toEqual([1, 2, 4]);
    expect((await kinds()).filter((id) => id.startsWith("del")).toSorted()).toEqual(["del:1", "del:2", "del:4"]);
  });
});

describe("a person who gives a key that was replaced", () => {
  it.each([
    ["in its grace", [due(1), kept(1)], { kind: "owed", at: END, isRetiring: true }],
    ["with a grace that was noted alone so far", [due(1)], { kind: "owed", at: END, isRetiring: true }],
    ["with a grace that was ended", [due(1), kept(1), del(1)], { kind: "owed", at: COMMITTED, isRetiring: false }],
    ["and kept", [kept(1)], { kind: "ours" }],
  ] as const)("%s, is told what becomes of it", async (_, entries, expected) => {
    const { journal } = await journalWith(saved(1), ...entries);
    expect(await lookUpGiven(keyNumber(1), journal, patience)).toMatchObject(expected);
  });
});

it("a copy brings the graces with the journal", async () => {
  const from = await journalWith(saved(1), saved(2), due(1), kept(1));
  await from.journal.adoptDeployment("0123456789abcdef", patience);
  const to = memoryJournal();
  for await (const _ of new JournalCopy(from.journal, to, false).bring(() => patience));
  expect(await to.entry(alice, "due", 1, patience)).toEqual(due(1));
});

import { appendFileSync } from "node:fs";
import type { Entry, EntryKind, LiveOperation, Recorded as RecordedEntry } from "../../../src/core/ports/journal.ts";
import type { KeyRecord, Restrictions, Version } from "../../../src/core/model/key-record.ts";
import { isTombstone } from "../../../src/core/model/tombstone.ts";
import type { StoredRow } from "../../../src/core/model/tombstone.ts";
import type { SpooledKey } from "../../../src/core/ports/spool.ts";
import type { KeyRequest, ListedPage, Scope } from "../../../src/core/ports/openrouter.ts";
import type { KeyContent, Outcome, Records, Retirement, Row, RowContent } from "../../model/accesses.ts";
import { TOMBSTONE } from "../../model/actors/block.ts";
import type { PortAnswer, Witness } from "./port-calls.ts";

/**
 * One access of a real process to the store, the journal, OpenRouter or the spool folder. `user` is null if the access
 * is not about one user. The process died during an access without a `result` for its `id`.
 */
export interface RawAccess {
  readonly access: string;
  readonly user: string | null;
  readonly result?: unknown;
  readonly [operand: string]: unknown;
}

/**
 * Appends each access to the file before it happens, and its answer when the answer arrives. Facts that never change
 * (seal checks), counts, `recordCheck` and whole scans decide no step of the protocol, so they are no accesses. The
 * checks of the management key's account, and of whether a deletion has taken effect, are no accesses either: they
 * change nothing in the model and can only stop a command, and in the model a command may die anywhere.
 */
export function recorder(path: string): Witness {
  let last = 0;
  const write = (line: object) => appendFileSync(path, `${JSON.stringify(line)}\n`);
  return {
    begins(call) {
      const access = WORDS[call.name]?.asked(call.words);
      if (access === undefined) return undefined;
      last += 1;
      write({ id: last, ...access });
      return last;
    },
    ends({ name, words }, answer, id) {
      if (id !== undefined) write({ id, result: resultOf(name, words, answer) });
    },
  };
}

function resultOf(name: string, words: readonly unknown[], answer: PortAnswer): unknown {
  const meaning = WORDS[name];
  if ("value" in answer) return meaning?.answered(answer.value, words);
  if (meaning?.failed !== undefined) return meaning.failed;
  // A property of KeyctlError, whichever bundle the class comes from.
  return (answer.error as { mayHaveHappened?: boolean }).mayHaveHappened === true
    ? { answer: "unanswered" }
    : "unavailable";
}

interface Word {
  /** Returns undefined if the call is no access. */
  readonly asked: (words: readonly unknown[]) => RawAccess | undefined;
  readonly answered: (value: unknown, words: readonly unknown[]) => unknown;
  /** The meaning of a rejection, if the store's default does not apply. */
  readonly failed?: unknown;
}

/** The ports define the types of arguments and answers. Each call gets its types once, here. */
function word<Words extends readonly unknown[]>(
  asked: (...words: Words) => RawAccess | undefined,
  answered: (value: never, ...words: Words) => unknown,
  failed?: unknown,
): Word {
  return {
    asked: (words) => asked(...(words as Words)),
    answered: (value, words) => answered(value as never, ...(words as Words)),
    failed,
  };
}

const same = (value: unknown) => value;
const UNCONFIRMED = "unavailable";
const KEYS = "openRouter.open.withManagementKey";

const WORDS: Readonly<Record<string, Word>> = {
  "store.find": word(
    (user: string) => ({ access: "row.find", user }),
    (row: StoredRow | undefined) => (row === undefined ? null : asRow(row)),
  ),
  "store.insert": word(
    (row: StoredRow) => ({ access: "row.insert", user: row.userId, row: contentOf(row) }),
    (won: boolean, row) => (won ? { answer: "done", version: versionOf(row) } : REFUSED),
  ),
  "store.replace": word(
    (row: StoredRow, seen: Version) => ({
      access: "row.replace",
      user: row.userId,
      row: contentOf(row),
      seen: versionOf(seen),
    }),
    (won: boolean, row) => (won ? { answer: "done", version: versionOf(row) } : REFUSED),
  ),
  "store.remove": word(
    (user: string, seen: Version) => ({ access: "row.remove", user, seen: versionOf(seen) }),
    (won: boolean) => (won ? { answer: "done" } : REFUSED),
  ),
  "store.scan": word(
    (_patience: unknown, hash?: string) => (hash === undefined ? undefined : { access: "row.scan", user: null, hash }),
    (rows: readonly KeyRecord[]) => rows.map(({ userId }) => userId),
  ),
  // A `gone` entry is a note that no step of the protocol reads.
  "store.insertEntry": word(
    (entry: RecordedEntry) => (entry.kind === "gone" ? undefined : insertOf(entry)),
    (won: boolean) => (won ? { answer: "done" } : REFUSED),
  ),
  "store.entry": word(
    (user: string, kind: EntryKind, n: number) => ({ access: `journal.read ${kind}`, user, generation: n }),
    (entry: RecordedEntry | undefined) => (entry === undefined ? null : standing(entry)),
  ),
  // What is recorded of the store itself, and is about no user.
  "store.hasAtomicChanges": word(() => ({ access: "atomic changes", user: null }), same),
  // Recorded once for each process. It identifies this store's keys upstream.
  "store.deployment": word(() => ({ access: "deployment", user: null }), same),
  "store.lastOperation": word(
    (user: string) => ({ access: "journal.last op", user }),
    (operation: RecordedEntry | undefined) =>
      operation?.kind === "op" ? { n: operation.n, nonce: operation.nonce } : { n: 0 },
  ),
  "store.entries": word(
    (user: string) => ({ access: "journal.records", user }),
    (entries: readonly RecordedEntry[]) => recordsOf(entries),
  ),
  "store.outcomesOf": word(
    (hashes: readonly string[]) => ({ access: "journal.holding", user: null, hashes }),
    (outcomes: readonly RecordedEntry[]) =>
      outcomes.flatMap(({ userId, ...out }) =>
        "hash" in out ? [{ user: userId, hash: out.hash, generation: out.n }] : [],
      ),
  ),
  "store.liveOperations": word(
    (_between: readonly string[], atMost: number) => ({ access: "journal.live operations", user: null, atMost }),
    (live: readonly LiveOperation[]) => {
      const saved = live.filter(({ isSaved }) => isSaved).length;
      return { saved, open: live.length - saved };
    },
  ),
  [`${KEYS}.create`]: word(
    ({ name }: KeyRequest) => ({ access: "upstream.post", user: null, name }),
    (creation: { status: string; key?: { hash: string } }) => {
      if (creation.key !== undefined) return { created: creation.key.hash };
      return creation.status === "ambiguous" ? "ambiguous" : "refused";
    },
  ),
  [`${KEYS}.list`]: word(
    ({ kind }: Scope) => ({ access: kind === "everywhere" ? "upstream.list" : "upstream.list named", user: null }),
    (pages: readonly ListedPage[]) => listing(pages),
    { keys: [], complete: false },
  ),
  [`${KEYS}.disable`]: word(
    (hash: string) => ({ access: "upstream.disable", user: null, hash }),
    ({ status }: { status: string }) => (status === "unknown" ? UNCONFIRMED : status),
    UNCONFIRMED,
  ),
  [`${KEYS}.setLimit`]: word(
    (hash: string) => ({ access: "upstream.set limit", user: null, hash }),
    ({ status }: { status: string }) => (status === "unknown" ? UNCONFIRMED : status),
    UNCONFIRMED,
  ),
  [`${KEYS}.assignGuardrail`]: word(
    (_guardrail: string, hash: string) => ({ access: "upstream.attach", user: null, hash }),
    attachResult,
    UNCONFIRMED,
  ),
  [`${KEYS}.unassignGuardrail`]: word(
    (_guardrail: string, hash: string) => ({ access: "upstream.detach", user: null, hash }),
    attachResult,
    UNCONFIRMED,
  ),
  // An allow-list is written as a whole: the translation tells whom the change is about.
  [`${KEYS}.setAllowedKeys`]: word(
    (_credential: string, hashes: readonly string[]) => ({ access: "upstream.set allowed keys", user: null, hashes }),
    attachResult,
    UNCONFIRMED,
  ),
  [`${KEYS}.remove`]: word(
    (hash: string) => ({ access: "upstream.delete", user: null, hash }),
    ({ status }: { status: string }) => (status === "unknown" ? UNCONFIRMED : "done"),
    UNCONFIRMED,
  ),
  "spool.mayHoldKeys": word(() => ({ access: "spool.may hold keys", user: null }), same),
  "spool.list": word(
    (_deployment: string, user?: string) => ({ access: "spool.list", user: user ?? null }),
    (keys: readonly SpooledKey[]) => keys.map((key) => ({ ...spooled(key), user: key.userId })),
  ),
  "spool.claim": word(
    ({ userId, n }: SpooledKey) => ({ access: "spool.claim", user: userId, generation: n }),
    (won: boolean) => (won ? "won" : "lost"),
  ),
  "spool.release": word(
    ({ userId, n }: SpooledKey) => ({ access: "spool.release", user: userId, generation: n }),
    () => "done",
  ),
  "spool.write": word(
    (key: SpooledKey) => ({ access: "spool.write", user: key.userId, spooled: spooled(key) }),
    () => "done",
    "failed",
  ),
  "spool.remove": word(
    ({ userId, n }: SpooledKey) => ({ access: "spool.remove", user: userId, generation: n }),
    () => "done",
  ),
};

const REFUSED = { answer: "refused" } as const;

function attachResult({ status }: { status: string }): string {
  return status === "done" ? status : UNCONFIRMED;
}

function versionOf({ id, revision }: Version): string {
  return `${id}/${revision}`;
}

function contentOf(row: StoredRow): RowContent {
  if (isTombstone(row)) return TOMBSTONE;
  const { settled, previous, ...key } = row;
  return {
    ...keyOf(key),
    settled,
    previous: previous === null ? null : { ...keyOf(previous), revoke: previous.revoke, graceMs: previous.graceMs },
  };
}

type RecordedKey = Pick<KeyRecord, "generation" | "keyHash" | "limitDue" | "restrictions">;

function keyOf({ generation, keyHash, limitDue, restrictions }: RecordedKey): KeyContent {
  return {
    generation,
    hash: keyHash ?? "",
    limitDue: limitDue === null ? null : `${limitDue.limit}@${limitDue.at}`,
    restrictions: textOf(restrictions),
  };
}

/** A key that nothing is attached to has no restrictions. */
function textOf(restrictions: Restrictions | null): string | null {
  if (restrictions === null) return null;
  const { guardrails, byok } = restrictions;
  return guardrails.length + byok.length === 0 ? null : JSON.stringify({ guardrails, byok });
}

function asRow(row: StoredRow): Row {
  return { ...contentOf(row), version: versionOf(row) };
}

function insertOf(entry: Exclude<RecordedEntry, { kind: "gone" }>): RawAccess {
  const { kind, n, userId } = entry;
  const insert = { access: `journal.insert ${kind}`, user: userId, generation: n };
  switch (entry.kind) {
    case "op":
      return { ...insert, nonce: entry.nonce, deliberate: entry.deliberate };
    case "out":
      return { ...insert, outcome: standing(entry) };
    case "rev":
      return { ...insert, retirement: standing(entry) };
    case "due":
    case "del":
      return insert;
  }
}

/** The content of an existing entry, as the model knows it. */
function standing(entry: Entry): unknown {
  switch (entry.kind) {
    case "op":
      return { nonce: entry.nonce };
    case "out":
      return outcomeOf(entry);
    case "rev":
      return retirementOf(entry);
    case "due":
    case "del":
    case "gone":
      return "stands";
  }
}

function outcomeOf(out: Extract<Entry, { kind: "out" }>): Outcome {
  return out.outcome === "saved" ? { saved: out.hash } : "abandoned";
}

function retirementOf({ reason, revoke, block }: Extract<Entry, { kind: "rev" }>): Retirement {
  return { reason, revoke, block };
}

function recordsOf(entries: readonly Entry[]): Records {
  const operations = Math.max(0, ...entries.map(({ n }) => n));
  const outcomes = Array.from<Outcome | null>({ length: operations + 1 }).fill(null);
  const retirements = Array.from<Records["retirements"][number]>({ length: operations + 1 }).fill(null);
  for (const entry of entries) {
    if (entry.kind === "out") outcomes[entry.n] = outcomeOf(entry);
    if (entry.kind === "rev") retirements[entry.n] = retirementOf(entry);
  }
  const numbered = (kind: EntryKind) => entries.flatMap((entry) => (entry.kind === kind ? [entry.n] : []));
  const [owedAfterAll, gone] = [numbered("del"), numbered("gone")];
  const now = Date.now();
  // A grace whose key is proven to be deleted is nothing to do.
  const dues = entries.flatMap((entry) =>
    entry.kind === "due" && !gone.includes(entry.n)
      ? [{ generation: entry.n, isOver: Date.parse(entry.retireAt) <= now }]
      : [],
  );
  return { operations, outcomes, retirements, owedAfterAll, dues };
}

/** `complete`: the listing did not break off. */
export interface Listing {
  readonly keys: readonly { readonly hash: string; readonly name: string }[];
  readonly complete: boolean;
}

function listing(pages: readonly ListedPage[]): Listing {
  const keys = pages.flatMap((page) => (page.status === "listed" ? page.keys : []));
  return {
    keys: keys.map(({ hash, name }) => ({ hash, name })),
    complete: pages.every(({ status }) => status === "listed"),
  };
}

function spooled({ n, keyHash, sent }: SpooledKey) {
  return { generation: n, hash: keyHash, sent };
}

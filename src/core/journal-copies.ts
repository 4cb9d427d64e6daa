import { KeyctlError } from "./errors.ts";
import { insertedEntry } from "./journal-writes.ts";
import type { Recorded } from "./journal.ts";
import { printable } from "./printable.ts";
import { ATTEMPTS, contended } from "./resolution.ts";
import type { Side } from "./row-proofs.ts";

/**
 * The law of moving: a row of a key that keyctl made is worth nothing without its records, so they come first, under the
 * id of the store that made the key. A store that has made keys under an id of its own takes no others.
 */
export async function copyJournal(
  source: Side,
  destination: Side,
  dryRun: boolean,
  patience: () => AbortSignal,
): Promise<void> {
  let isReady = false;
  for await (const entry of source.journal.scanJournal(patience)) {
    if (!isReady) await prepare(source, destination, dryRun, patience);
    isReady = true;
    // What cannot be copied at all is known by now.
    if (dryRun) return;
    await carry(entry, destination, patience);
  }
}

/** A source without records has nothing to bring, and its id means nothing. */
async function prepare(source: Side, destination: Side, dryRun: boolean, patience: () => AbortSignal): Promise<void> {
  const deployment = await source.journal.deployment(patience());
  const isTaken = dryRun
    ? await isOthers(deployment, destination, patience)
    : !(await destination.journal.adoptDeployment(deployment, patience()));
  if (!isTaken) return;
  throw new KeyctlError("CONFLICT", "the destination has made keys of its own; nothing was copied", {
    hint: "copy into a store that has made none: the names of keys at OpenRouter say which store they belong to",
  });
}

async function isOthers(deployment: string, { journal }: Side, patience: () => AbortSignal): Promise<boolean> {
  for await (const _ of journal.scanJournal(patience)) return (await journal.deployment(patience())) !== deployment;
  return false;
}

/** Each id has one winner, and what stands there is held against what was to be brought. */
async function carry(entry: Recorded, { journal }: Side, patience: () => AbortSignal): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    if (await insertedEntry(journal, entry, patience())) return;
    const stands = await journal.entry(entry.userId, entry.kind, entry.n, patience());
    if (stands !== undefined && isSame(stands, entry)) return;
    if (stands !== undefined) throw differs(entry);
  }
  throw contended(entry.userId);
}

function isSame(one: Recorded, other: Recorded): boolean {
  return fieldsOf(one) === fieldsOf(other);
}

function fieldsOf(entry: Recorded): string {
  return JSON.stringify(Object.entries(entry).toSorted(([a], [b]) => a.localeCompare(b)));
}

function differs({ userId }: Recorded): KeyctlError {
  return new KeyctlError(
    "CONFLICT",
    `the records of user ${printable(userId)} differ in the destination: keys were made in both stores`,
    { hint: "stop one of the two; keyctl reconcile   says which keys there are" },
  );
}

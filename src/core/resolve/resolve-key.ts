import { ABSENT, decide, permissionOf, wishOf } from "./decide.ts";
import { Candidates } from "./source-candidates.ts";
import type { Adoption, Attempt } from "./auto-provision.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Stage } from "../protocol/shared-user-runs.ts";
import { openForUse } from "../sealing/open-row.ts";
import type { SyncResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import { blockedError, isTombstone } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import { retryOnConflict } from "../protocol/contention.ts";
import { importSpooled } from "../protocol/spool-gate.ts";
import { answer } from "./sync-result.ts";
import { isInUse, sealed } from "./sealed-record.ts";
import { usableOf } from "./usable-candidates.ts";

/** Options of a resolution that may create a key. */
export interface ResolveOptions {
  readonly autoProvision: boolean;
  /** A person asked for keys, so the hourly cap does not count a key that is created. */
  readonly isDeliberate: boolean;
  /**
   * Receives the stage that the run waits for. From the first stage on a key may exist, so the run continues even if
   * all callers stop waiting.
   */
  readonly onStage: (stage: Stage) => void;
}

/** Performs the result of `decide`. A row that cannot be opened ends the search, as does a database that fails. */
export async function resolve(
  user: UserId,
  context: Context,
  { autoProvision, isDeliberate, onStage }: ResolveOptions,
  signal: AbortSignal,
): Promise<SyncResult> {
  const { store, log } = context;
  const wish = wishOf(context, autoProvision);
  await importSpooled(user, context, signal);
  log({ kind: "syncing", user });
  const attempt: Attempt = { wish, isDeliberate, onStage, tries: 0 };
  const find = async () => {
    const found = await store.find(user, signal);
    if (!isTombstone(found)) return found;
    log({ kind: "no-key" });
    throw blockedError(found);
  };
  let row = await find();
  return retryOnConflict(user, async () => {
    const result =
      row === undefined ? await adopt(user, context, attempt, signal) : await fromDatabase(row, context, signal);
    if (result !== "lost" && "error" in result) return result;
    row = result === "lost" ? await find() : result.row;
    return "conflict";
  });
}

async function fromDatabase(row: KeyRecord, context: Context, signal: AbortSignal): Promise<SyncResult | "lost"> {
  const { log } = context;
  if (!(await isInUse(row, context, signal))) return "lost";
  const key = await openForUse(row, context, signal);
  log({ kind: "loaded", from: "database", key });
  const candidates = await Candidates.readBeside(context.sources);
  candidates.logTo(log, (from, other) => {
    if (!other.equals(key)) log({ kind: "differs", from });
  });
  log({ kind: "using", source: "database" });
  log({ kind: "complete" });
  return answer(row, key, { source: "database", candidates, now: context.clock.now().getTime() });
}

async function adopt(user: UserId, context: Context, attempt: Attempt, signal: AbortSignal): Promise<Adoption> {
  const { log } = context;
  const read = await Candidates.readBeside(context.sources);
  const { candidates, given } = await usableOf(read, context, signal);
  const decision = decide(ABSENT, candidates, permissionOf(context, attempt.wish));
  if (decision.kind === "fail" && decision.at === "environment") throw decision.error;
  if (attempt.tries === 0) {
    candidates.logTo(log, (from, key) => {
      if (decision.kind === "save" && from === decision.from) log({ kind: "loaded", from, key });
    });
  }
  if (decision.kind !== "save" || given === null) {
    const { withoutKey } = await import("./auto-provision.ts");
    return withoutKey(user, { candidates, decision, attempt }, context, signal);
  }

  const { key, from } = decision;
  const record = sealed(user, { key, name: from }, await context.sealer("seal", signal), context.clock);
  const { insertGiven } = await import("../protocol/given-key.ts");
  if (!(await insertGiven(record, given, context, signal))) return "lost";
  context.history.note({ event: "saved", userId: user, key: record });
  log({ kind: "saved", origin: from, key });
  log({ kind: "using", source: from });
  log({ kind: "synced" });
  log({ kind: "complete" });
  return answer(record, key, { source: from, candidates, now: context.clock.now().getTime() });
}

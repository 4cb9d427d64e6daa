import type { Access, Hash, Listed, Result, RowContent, Version } from "../accesses.ts";
import type { Protocol } from "../command.ts";
import { isTombstone } from "../actors/block.ts";
import { doing, ended, to } from "../step.ts";
import type { Place, Step } from "../step.ts";
import { journalEffects } from "./journal.ts";
import {
  generationOfKey,
  isStill,
  keyOfGeneration,
  rowAsRead,
  versionOf,
  wasReadAs,
  withKeys,
  withoutKey,
} from "./world.ts";
import type { Comparison, StoredRow, World } from "./world.ts";

/** One possible effect of an access. */
export interface Effect {
  readonly world: World;
  /**
   * `unavailable`: certainly not done. `checked`: the read of a split compare-and-set, which the actor does not learn.
   */
  readonly result: Result | "unavailable" | "checked";
  /** The fault, if there was one. */
  readonly fault: string | null;
  /** A write whose actor no longer waits for it, and that may still be applied. */
  readonly late: Place | null;
  /** Whether it wrote over a row that was not the one read. */
  readonly unread: boolean;
}

/** The behaviour of this store and its clients. */
export interface Laws {
  readonly comparison: Comparison;
  /** An insert overwrites an existing row. */
  readonly upserts: boolean;
  readonly protocol: Protocol;
}

/** All possible effects of this access in this world. */
export function effectsOf(access: Access, world: World, laws: Laws): readonly Effect[] {
  switch (access.access) {
    case "row.find":
      return [effect(world, world.row === null ? null : rowAsRead(world.row, laws.comparison))];
    case "row.insert":
      return insertEffects(access.row, world, laws);
    case "row.replace":
      return changeEffects(access.row, access.seen, world, laws);
    case "row.remove":
      return changeEffects(null, access.seen, world, laws);
    case "row.forget limit":
      return [effect(world.row === null ? world : { ...world, row: { ...world.row, limitDue: null } }, "done")];
    case "row.remove unseen":
      return [effect({ ...world, row: null }, "done", { unread: world.row !== null && !isTombstone(world.row) })];
    case "row.holding":
      return [
        effect(
          world,
          access.hashes.filter((hash) => hash === world.row?.hash),
        ),
      ];
    case "row.others holding":
      return [effect(world, "none")];
    case "spool.list":
      return [effect(world, world.spool)];
    case "spool.claim":
      return claimEffects(access.generation, world);
    case "spool.release":
      return [releaseEffect(access.generation, world)];
    case "spool.write":
      return [
        effect({ ...world, spool: [...world.spool, access.spooled] }, "done"),
        // Only a command after a fault gets here, so a full disk does not count as another fault.
        effect(world, "failed"),
      ];
    case "spool.remove":
      return [
        effect({ ...world, spool: world.spool.filter(({ generation }) => generation !== access.generation) }, "done"),
      ];
    case "upstream.post":
      return postEffects(access, world);
    case "upstream.list":
      return [effect(world, world.listed.map(asListed))];
    case "upstream.list named":
      return [
        effect(
          world,
          world.listed.filter((hash) => generationOfKey(hash) === access.generation),
        ),
      ];
    case "upstream.verify":
      return [effect(world, "works"), effect(world, "refused")];
    case "upstream.disable":
      return [
        effect(
          { ...world, live: withoutKey(world.live, access.hash) },
          world.listed.includes(access.hash) ? "done" : "gone",
        ),
      ];
    case "upstream.delete":
      return [effect(withoutDeleted(access.hash, world), "done")];
    case "upstream.set limit":
      return limitEffects(access.hash, world);
    case "upstream.attach":
      return [effect(withAttached(access.hash, world), "done")];
    case "upstream.detach":
      return [effect({ ...world, restricted: withoutKey(world.restricted, access.hash) }, "done")];
    default:
      return journalEffects(access, world).map(({ world: after, result }) => effect(after, result));
  }
}

function effect(world: World, result: Effect["result"], more: Partial<Effect> = {}): Effect {
  return { world, result, fault: null, late: null, unread: false, ...more };
}

/** The effects of inserting a row: one winner for each user. */
function insertEffects(row: RowContent, world: World, laws: Laws): readonly Effect[] {
  const lands = world.row === null || laws.upserts;
  const stored: StoredRow = { ...row, revision: 1 };
  const after = lands ? { ...world, row: stored } : world;
  const done = { answer: "done", version: versionOf(stored, laws.comparison) } as const;
  const lost = { answer: "unanswered" } as const;
  return [
    effect(after, lands ? done : { answer: "refused" }),
    effect(after, lost, { fault: "applied, the answer is lost" }),
    effect(world, lost, { fault: "delayed, the answer is lost", late: to(landInsert, { row }) }),
    ...(lands ? [effect(after, { answer: "refused" }, { fault: "applied twice, the second one answers" })] : []),
  ];
}

function landInsert({ row }: { readonly row: RowContent }): Step {
  return doing({ access: "row.insert", row }, () => LANDED);
}

/** The effects of a compare-and-set of the row, or of its removal (null). */
function changeEffects(row: RowContent | null, seen: Version, world: World, laws: Laws): readonly Effect[] {
  const old = world.row;
  const changed = isStill(old, seen, laws.comparison) ? changedRow(row, old, seen, world, laws) : null;
  const plain = changed ?? effect(world, { answer: "refused" });
  const lost = { answer: "unanswered" } as const;
  return [
    plain,
    ...(changed === null ? [] : [{ ...changed, result: lost, fault: "applied, the answer is lost" }]),
    effect(world, lost, { fault: "delayed, the answer is lost", late: to(landChange, { row, seen }) }),
  ];
}

export function changedRow(row: RowContent | null, old: StoredRow, seen: Version, world: World, laws: Laws): Effect {
  const unread = !wasReadAs(old, seen);
  if (row === null) return effect({ ...world, row: null }, { answer: "done" }, { unread });
  const stored = { ...row, revision: laws.comparison === "revision alone" ? old.revision + 1 : 1 };
  return effect({ ...world, row: stored }, { answer: "done", version: versionOf(stored, laws.comparison) }, { unread });
}

function landChange({ row, seen }: { readonly row: RowContent | null; readonly seen: Version }): Step {
  if (row === null) return doing({ access: "row.remove", seen }, () => LANDED);
  return doing({ access: "row.replace", row, seen }, () => LANDED);
}

const LANDED = ended("landed");

function claimEffects(generation: number, world: World): readonly Effect[] {
  const file = world.spool.find((one) => one.generation === generation && !one.sent);
  if (file === undefined) return [effect(world, "lost")];
  return [effect({ ...world, spool: world.spool.map((one) => (one === file ? { ...one, sent: true } : one)) }, "won")];
}

function releaseEffect(generation: number, world: World): Effect {
  const file = world.spool.find((one) => one.generation === generation && one.sent);
  if (file === undefined) return effect(world, "gone");
  return effect({ ...world, spool: world.spool.map((one) => (one === file ? { ...one, sent: false } : one)) }, "done");
}

export function withoutDeleted(hash: Hash, world: World): World {
  return {
    ...world,
    live: withoutKey(world.live, hash),
    listed: withoutKey(world.listed, hash),
    lowered: withoutKey(world.lowered, hash),
    restricted: withoutKey(world.restricted, hash),
  };
}

function withAttached(hash: Hash, world: World): World {
  return world.listed.includes(hash) ? { ...world, restricted: withKeys(world.restricted, [hash]) } : world;
}

/** Every request for one key sets the same limit. */
function limitEffects(hash: Hash, world: World): readonly Effect[] {
  const after = { ...world, lowered: withoutKey(world.lowered, hash) };
  return [
    effect(after, world.listed.includes(hash) ? "done" : "gone"),
    effect(world, "unanswered", { fault: "delayed, the answer is lost", late: to(landLimit, { hash }) }),
  ];
}

function landLimit({ hash }: { readonly hash: Hash }): Step {
  return doing({ access: "upstream.set limit", hash }, () => LANDED);
}

function postEffects({ generation, lowered }: PostAccess, before: World): readonly Effect[] {
  const key = keyOfGeneration(generation);
  const copy = keyOfGeneration(generation, "'");
  // A lowered limit of a key that is not created changes nothing.
  const world = lowered ? { ...before, lowered: withKeys(before.lowered, [key, copy]) } : before;
  const twice = withCreated(world, [key, copy]);
  return [
    effect(withCreated(world, [key]), { created: key }),
    effect(twice, { created: key }, { fault: "arrives twice" }),
    effect(withCreated(world, [key]), "ambiguous", { fault: "applied, the answer is lost" }),
    effect({ ...world, inFlight: [...world.inFlight, generation] }, "ambiguous", {
      fault: "delayed past the time-out",
    }),
    effect(world, "refused", { fault: "refused" }),
  ];
}

type PostAccess = Extract<Access, { readonly access: "upstream.post" }>;

export function withCreated(world: World, keys: readonly Hash[]): World {
  return { ...world, live: withKeys(world.live, keys), listed: withKeys(world.listed, keys) };
}

function asListed(hash: Hash): Listed {
  return { hash, generation: generationOfKey(hash) };
}

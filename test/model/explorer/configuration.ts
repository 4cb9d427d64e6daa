import type { Hash } from "../accesses.ts";
import { command } from "../command.ts";
import type { ActorKind, Breach, Command, Protocol } from "../command.ts";
import type { Exploration } from "./explore.ts";
import type { Habits } from "./space.ts";
import { FULL_LIMIT, keyOfGeneration, RESTRICTED, worldAtStart } from "./world.ts";
import type { StartName } from "./world.ts";

/** One row of a table: the actors, the start, and the possible faults. */
export interface Configuration {
  /**
   * `sync,save!,purge@row`: the actors, then their start. `!` is `--revoke`. A `sync` with `+` has a key in key.txt.
   * With `=`, a `sync` or `save` has the text of the key that was created first. `provision` is a sync whose key was
   * requested explicitly, and `sync2` is a sync of a second user. A `rotate` with `~` has a grace, with `%` it creates
   * the key with what is left of a limit, and with `!` it ends every grace. A `purge` with `^` blocks the user. A `renew`
   * was refused with the key of the start, and a `leaked` is about that key; with `=`, about the key that was created first.
   */
  readonly actors: string;
  readonly faults?: number;
  readonly generations?: number;
  /** A person may delete or disable the key of the start upstream at any moment. */
  readonly dies?: boolean;
  /** The cap on automatically created keys of all users. */
  readonly cap?: number;
  readonly breach?: Breach;
  readonly protocol?: Protocol;
  /** The compare-and-set of the store reads and then writes. */
  readonly split?: boolean;
  /** The commands have a spool folder, and the store may be away. */
  readonly spool?: boolean;
}

const KINDS: readonly ActorKind[] = [
  "sync",
  "get",
  "save",
  "purge",
  "unblock",
  "rotate",
  "renew",
  "leaked",
  "finish",
  "reconcile",
];
const STARTS: readonly StartName[] = ["none", "row", "manual", "retained", "lowered", "restricted", "dead", "expired"];

export function explorationOf(configuration: Configuration): Exploration {
  const { actors, faults = 1, generations = 3, split = false, dies = false } = configuration;
  const { breach = null, spool = false, protocol = "row first", cap = null } = configuration;
  const [names = "", name = "none"] = actors.split("@");
  const start = oneOf(STARTS, name);
  const first = worldAtStart(start, 0).row?.hash ?? keyOfGeneration(1);
  const restrictions = start === "restricted" ? RESTRICTED : null;
  const habits = { breach, spool, split, protocol, cap, restrictions };
  const commands = names.split(",").map((one, index) => commandOf(one, index, { first, ...habits }));
  return {
    commands,
    habits,
    start: worldAtStart(start, Math.max(...commands.map(({ user }) => user))),
    faults,
    generations,
    setting: {
      split,
      mortal: dies ? first : null,
      comparison: breach === "aba" ? "revision alone" : "whole version",
      upserts: breach === "upsert",
      protocol,
    },
  };
}

type Manner = Habits & {
  /** The key that is stored at the start, or the first one that is created. */
  readonly first: Hash;
};

function commandOf(name: string, index: number, { first, ...habits }: Manner): Command {
  const [, word = "", number = "1", signs = ""] = /^([a-z]+)(\d?)([!+=~%^]*)$/.exec(name) ?? [];
  const kind = word === "provision" ? "sync" : oneOf(KINDS, word);
  // A rotation without a grace ends every grace that is under way.
  const isLeaked = kind === "leaked";
  const givesKey = kind === "save" || signs.includes("+");
  const key = signs.includes("=") ? keyOfGeneration(1) : givesKey ? `m${index}` : null;
  const about = isLeaked || kind === "renew" ? (key ?? first) : null;
  const revoke = isLeaked || signs.includes("!") ? "ours" : "no";
  const graceMs = signs.includes("~") ? 1 : null;
  const limitDue = signs.includes("%") ? FULL_LIMIT : null;
  const block = signs.includes("^");
  return command(kind, {
    ...habits,
    key: about === null ? key : null,
    about,
    revoke,
    block,
    graceMs,
    limitDue,
    deliberate: isLeaked || word === "provision",
    user: Number(number || "1") - 1,
  });
}

function oneOf<Name extends string>(names: readonly Name[], name: string): Name {
  const known = names.find((one) => one === name);
  if (known === undefined) throw new Error(`there is no ${name}`);
  return known;
}

const FROM: Readonly<Record<string, string>> = {
  none: "",
  row: " over a made key",
  manual: " over a saved key",
  retained: " over a made key that has replaced another, which was kept",
  lowered: " over a made key with a lowered limit",
  restricted: " over a made key with restrictions",
  dead: " over a made key that is deleted upstream",
  expired: " over a made key that has expired",
};
const NUMBERS = ["no", "one", "two", "three", "four"];

/** `sync,purge! over a made key with one fault`. */
export function titleOf({ actors, faults = 1, generations = 3, ...more }: Configuration): string {
  const { split, spool, cap, dies } = more;
  const [names = "", start = "none"] = actors.split("@");
  const also = [
    dies === true ? " which may die," : "",
    split === true ? " on a store that reads, then writes" : "",
    spool === true ? ", spooling" : "",
    cap === undefined ? "" : `, with a cap of ${NUMBERS[cap]}`,
    generations === 3 ? "" : `, ${NUMBERS[generations]} generations`,
  ];
  return `${names}${FROM[start]} with ${NUMBERS[faults]} fault${faults === 1 ? "" : "s"}${also.join("")}`;
}

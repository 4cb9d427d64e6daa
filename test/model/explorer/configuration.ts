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
   * the key with what is left of a limit, and with `!` it ends every grace. A `purge` with `^` blocks the user.
   */
  readonly actors: string;
  readonly faults?: number;
  readonly generations?: number;
  /** The cap on automatically created keys of all users. */
  readonly cap?: number;
  readonly breach?: Breach;
  readonly protocol?: Protocol;
  /** The compare-and-set of the store reads and then writes. */
  readonly split?: boolean;
  /** The commands have a spool folder, and the store may be away. */
  readonly spool?: boolean;
}

const KINDS: readonly ActorKind[] = ["sync", "get", "save", "purge", "unblock", "rotate", "finish", "reconcile"];
const STARTS: readonly StartName[] = ["none", "row", "manual", "retained", "lowered", "restricted"];

export function explorationOf(configuration: Configuration): Exploration {
  const { actors, faults = 1, generations = 3, split = false } = configuration;
  const { breach = null, spool = false, protocol = "row first", cap = null } = configuration;
  const [names = "", start = "none"] = actors.split("@");
  const restrictions = start === "restricted" ? RESTRICTED : null;
  const habits = { breach, spool, split, protocol, cap, restrictions };
  const commands = names.split(",").map((name, index) => commandOf(name, index, habits));
  return {
    commands,
    habits,
    start: worldAtStart(oneOf(STARTS, start), Math.max(...commands.map(({ user }) => user))),
    faults,
    generations,
    setting: {
      split,
      comparison: breach === "aba" ? "revision alone" : "whole version",
      upserts: breach === "upsert",
      protocol,
    },
  };
}

function commandOf(name: string, index: number, habits: Habits): Command {
  const [, word = "", number = "1", signs = ""] = /^([a-z]+)(\d?)([!+=~%^]*)$/.exec(name) ?? [];
  const deliberate = word === "provision";
  const kind = deliberate ? "sync" : oneOf(KINDS, word);
  const givesKey = kind === "save" || signs.includes("+");
  const key = signs.includes("=") ? keyOfGeneration(1) : givesKey ? `m${index}` : null;
  const revoke = signs.includes("!") ? "ours" : "no";
  const graceMs = signs.includes("~") ? 1 : null;
  const limitDue = signs.includes("%") ? FULL_LIMIT : null;
  const block = signs.includes("^");
  return command(kind, {
    ...habits,
    key,
    revoke,
    block,
    graceMs,
    limitDue,
    deliberate,
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
};
const NUMBERS = ["no", "one", "two", "three", "four"];

/** `sync,purge! over a made key with one fault`. */
export function titleOf({ actors, faults = 1, generations = 3, split, spool, cap }: Configuration): string {
  const [names = "", start = "none"] = actors.split("@");
  const more = [
    split === true ? " on a store that reads, then writes" : "",
    spool === true ? ", spooling" : "",
    cap === undefined ? "" : `, with a cap of ${NUMBERS[cap]}`,
    generations === 3 ? "" : `, ${NUMBERS[generations]} generations`,
  ];
  return `${names}${FROM[start]} with ${NUMBERS[faults]} fault${faults === 1 ? "" : "s"}${more.join("")}`;
}

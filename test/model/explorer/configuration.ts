import { command } from "../command.ts";
import type { ActorKind, Breach, Command } from "../command.ts";
import type { Exploration } from "./explore.ts";
import { worldAtStart } from "./world.ts";
import type { StartName } from "./world.ts";

/** One row of a table: who acts, from what start, and what may go wrong. */
export interface Configuration {
  /** `sync,save!,purge@row`: actors, then where they start. `!` is `--revoke`; a `sync` with `+` has a key in key.txt. */
  readonly actors: string;
  readonly faults?: number;
  readonly generations?: number;
  readonly breach?: Breach;
  /** The store reads and then writes when it compares and sets. */
  readonly split?: boolean;
  /** The commands look into a spool folder, and the store may be away. */
  readonly spool?: boolean;
}

const KINDS: readonly ActorKind[] = ["sync", "get", "save", "purge", "rotate", "reconcile"];
const STARTS: readonly StartName[] = ["none", "row", "manual"];

export function explorationOf(configuration: Configuration): Exploration {
  const { actors, faults = 1, generations = 3, breach, split = false } = configuration;
  const [names = "", start = "none"] = actors.split("@");
  const commands = names.split(",").map((name, index) => commandOf(name, index, configuration));
  return {
    commands,
    start: worldAtStart(oneOf(STARTS, start)),
    faults,
    generations,
    setting: {
      split,
      comparison: breach === "aba" ? "revision alone" : "whole version",
      upserts: breach === "upsert",
    },
  };
}

function commandOf(name: string, index: number, { breach, spool = false }: Configuration): Command {
  const kind = oneOf(KINDS, name.replace(/[!+]$/, ""));
  const givesKey = kind === "save" || name.endsWith("+");
  return command(kind, {
    key: givesKey ? `m${index}` : null,
    revoke: name.endsWith("!") ? "ours" : "no",
    breach: breach ?? null,
    spool,
  });
}

function oneOf<Name extends string>(names: readonly Name[], name: string): Name {
  const known = names.find((one) => one === name);
  if (known === undefined) throw new Error(`there is no ${name}`);
  return known;
}

export function titleOf({ actors, faults = 1, generations = 3, split = false, spool = false }: Configuration): string {
  const [names = "", start = "none"] = actors.split("@");
  const from = { none: "", row: ", from a made key", manual: ", from a saved key" }[start] ?? "";
  const store = `${split ? ", a store that reads, then writes" : ""}${spool ? ", with the spool" : ""}`;
  return `${names}${from}${store}, ${faults} ${faults === 1 ? "fault" : "faults"}, ${generations} generations`;
}

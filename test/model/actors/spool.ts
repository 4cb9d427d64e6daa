import type { Spooled } from "../accesses.ts";
import { stepOne } from "./begin.ts";
import type { Command } from "../command.ts";
import { insertOwn, readOwnBack } from "./placing.ts";
import type { Placing } from "./placing.ts";
import { removing } from "./removal.ts";
import { doing, ended, to } from "../step.ts";
import type { Move, Step } from "../step.ts";

/**
 * A key that was created but could not be stored waits in a file. The file's name tells whether its insert may have
 * been sent. **Invariant:** such an insert is never sent again, because the key may have been stored and purged, and
 * would come back.
 */
const SPOOLED = ended("spooled");
const AWAY = ended("STORE_UNAVAILABLE");

/** Imports every spooled key of this user before the first read of the row. */
export function listSpool(_: object, command: Command): Step {
  return doing({ access: "spool.list" }, (files) => importing(files, command));
}

function importing(files: readonly Spooled[], command: Command): Move {
  const [file, ...rest] = files;
  if (file === undefined) return stepOne(command);
  if (!file.sent) return to(claim, { file, rest });
  return command.breach === "spool-resend"
    ? to(insertOwn, imported(file, rest))
    : to(readOwnBack, imported(file, rest));
}

/** Renaming the file is the claim. An actor that loses it does not touch the file. */
function claim({ file, rest }: Importing, command: Command): Step {
  return doing({ access: "spool.claim", generation: file.generation }, (result) =>
    result === "won" ? to(insertOwn, imported(file, rest)) : importing(rest, command),
  );
}

interface Importing {
  readonly file: Spooled;
  readonly rest: readonly Spooled[];
}

/** The file is removed after its outcome is recorded and, if that is `abandoned`, its key is deleted. */
function imported(file: Spooled, rest: readonly Spooled[]): Placing {
  const done = to(removeFile, { file, rest });
  const { generation, hash } = file;
  return { generation, hash, settled: done, unsettled: done, lost: done, whenAway: "release" };
}

function removeFile({ file, rest }: Importing, command: Command): Step {
  return doing({ access: "spool.remove", generation: file.generation }, () => importing(rest, command));
}

/** Handles a store that is away. `sent`: the insert may have reached the store. */
export function spoolOwn({ generation, hash, whenAway }: Placing, { sent }: Pick<Spooled, "sent">): Move {
  if (whenAway === "spool") return to(writeFile, { generation, hash, sent });
  return whenAway === "release" && !sent ? to(releaseFile, { generation }) : AWAY;
}

/**
 * Gives the file back after an import that certainly sent nothing, so the next import may send the insert. Otherwise a
 * second try while the store is away would lose the key.
 */
function releaseFile({ generation }: Pick<Spooled, "generation">): Step {
  return doing({ access: "spool.release", generation }, () => AWAY);
}

/** Only a key whose insert was never sent, and never will be, may be deleted without a recorded outcome. */
function writeFile(spooled: Spooled, command: Command): Step {
  const { hash, sent } = spooled;
  return doing({ access: "spool.write", spooled }, (answer) => {
    if (answer === "done") return SPOOLED;
    const deletes = !sent || command.breach === "spool-fails-delete";
    return deletes ? removing([hash], AWAY) : AWAY;
  });
}

import type { Spooled } from "../accesses.ts";
import { stepOne } from "./begin.ts";
import type { Command } from "../command.ts";
import { insertOwn, readOwnBack } from "./placing.ts";
import type { Placing } from "./placing.ts";
import { removing } from "./removal.ts";
import { doing, ended, to } from "../step.ts";
import type { Move, Step } from "../step.ts";

/**
 * A key that was made but could not be stored waits in a file. The file's name says whether its insert may have been sent:
 * what may have been sent is never sent again, because it may have landed, been purged, and would come back.
 */
const SPOOLED = ended("spooled");
const AWAY = ended("STORE_UNAVAILABLE");

/** Before step 1: every spooled key of this user is brought in. */
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

/** The renaming is the claim: whoever loses it leaves the file alone. */
function claim({ file, rest }: Importing, command: Command): Step {
  return doing({ access: "spool.claim", generation: file.generation }, (result) =>
    result === "won" ? to(insertOwn, imported(file, rest)) : importing(rest, command),
  );
}

interface Importing {
  readonly file: Spooled;
  readonly rest: readonly Spooled[];
}

/** The file goes when its outcome is decided and, where that is "abandoned", its key is deleted. */
function imported(file: Spooled, rest: readonly Spooled[]): Placing {
  const done = to(removeFile, { file, rest });
  return { generation: file.generation, hash: file.hash, replaced: null, won: done, lost: done, whenAway: "release" };
}

function removeFile({ file, rest }: Importing, command: Command): Step {
  return doing({ access: "spool.remove", generation: file.generation }, () => importing(rest, command));
}

/** The store is away. `sent`: the insert may have reached it. */
export function spoolOwn({ generation, hash, whenAway }: Placing, { sent }: Pick<Spooled, "sent">): Move {
  if (whenAway === "spool") return to(writeFile, { generation, hash, sent });
  return whenAway === "release" && !sent ? to(releaseFile, { generation }) : AWAY;
}

/** An import that certainly sent nothing: the next one may send it. Else a second try while the store is away would cost the key. */
function releaseFile({ generation }: Pick<Spooled, "generation">): Step {
  return doing({ access: "spool.release", generation }, () => AWAY);
}

/** Only a key whose insert was never sent, and never will be, may be deleted without a decision. */
function writeFile(spooled: Spooled, command: Command): Step {
  const { hash, sent } = spooled;
  return doing({ access: "spool.write", spooled }, (answer) => {
    if (answer === "done") return SPOOLED;
    const deletes = !sent || command.breach === "spool-fails-delete";
    return deletes ? removing([hash], AWAY) : AWAY;
  });
}

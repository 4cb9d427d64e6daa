import type { Row } from "../accesses.ts";
import { refusing } from "./begin.ts";
import { isTombstone } from "./block.ts";
import type { Command } from "../command.ts";
import { startOver } from "./settle.ts";
import { doing, ended, to } from "../step.ts";
import type { Move, Step } from "../step.ts";

type HeldKey = Pick<Row, "generation" | "hash">;

/**
 * The last look. **Invariant:** a key is handed out only by an access that saw it current in the row. Between the read of
 * a row and the reads of its records, a purge may have come and gone.
 */
export function handingOut({ generation, hash }: HeldKey, { breach }: Command): Move {
  return breach === "no-last-look" ? ended("has the key", hash) : to(lookAgain, { generation, hash });
}

function lookAgain({ generation, hash }: HeldKey, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.generation === generation && row.hash === hash) return ended("has the key", hash);
    return row !== null && isTombstone(row) ? refusing({ row, listed: null }, command) : startOver();
  });
}

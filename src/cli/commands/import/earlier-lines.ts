import { KeyctlError } from "../../../core/model/errors.ts";
import type { Warning } from "../../../core/model/warning.ts";
import { printable } from "../../../core/text/printable.ts";
import { SeenIds } from "../../bulk/seen-ids.ts";
import type { LineResult } from "./line-result.ts";

/** What earlier lines gave, in 24 bytes each, and 36 in a dry run. */
export class EarlierLines {
  readonly #keys = new SeenIds();
  readonly #keysOfUsers = new SeenIds();
  /** A dry run stores nothing that a later line of the same user could be compared with. */
  readonly #users: SeenIds | undefined;

  constructor(isDryRun: boolean) {
    this.#users = isDryRun ? new SeenIds() : undefined;
  }

  /** This result beside those of earlier lines. */
  compared(result: LineResult): LineResult {
    const { outcome, userId, keyHash } = result;
    if ((outcome !== "imported" && outcome !== "kept") || userId === null || keyHash === null) return result;
    const isNewPair = this.#keysOfUsers.add(`${keyHash} ${userId}`);
    if (this.#users?.add(userId) === false && outcome === "imported") {
      return isNewPair ? conflictOf(result, userId) : { ...result, outcome: "kept" };
    }
    const isShared = !this.#keys.add(keyHash) && isNewPair;
    return isShared ? { ...result, warnings: [...result.warnings, sharedWarning(keyHash)] } : result;
  }
}

function conflictOf(result: LineResult, userId: string): LineResult {
  const error = new KeyctlError("KEY_EXISTS", `an earlier line has another key for user ${printable(userId)}`, {
    hint: "leave one line of this user in the file",
  });
  return { ...result, outcome: "conflict", error };
}

function sharedWarning(keyHash: string): Warning {
  const message = `an earlier line gives this key to another user; keyctl list --hash ${keyHash}   names its users`;
  return { code: "KEY_SHARED", message };
}

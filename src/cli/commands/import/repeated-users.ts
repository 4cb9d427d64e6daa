import { KeyctlError } from "../../../core/model/errors.ts";
import { printable } from "../../../core/text/printable.ts";
import { SeenIds } from "../../bulk/seen-ids.ts";
import type { LineResult } from "./import-report.ts";

/** A dry run stores nothing that a later line of the same user could be compared with: it remembers the users, in 24 bytes each. */
export class RepeatedUsers {
  readonly #users = new SeenIds();
  readonly #keys = new SeenIds();

  compared(result: LineResult): LineResult {
    const { outcome, userId, keyHash } = result;
    if (outcome !== "imported" || userId === null) return result;
    const isNewKey = this.#keys.add(`${keyHash} ${userId}`);
    if (this.#users.add(userId)) return result;
    if (!isNewKey) return { ...result, outcome: "kept" };
    const message = `an earlier line has another key for user ${printable(userId)}`;
    return { ...result, outcome: "conflict", error: new KeyctlError("KEY_EXISTS", message) };
  }
}

import { counted, formatNumber, plural } from "../../core/text/format.ts";
import { printable } from "../../core/text/printable.ts";
import type { Warning } from "../../core/model/warning.ts";

/** Users that are named in one sentence. */
const NAMED = 10;

/** The users whose keys were found in plain text and sealed: whoever can write to a database can plant such a key. */
export class PlainKeys {
  #count = 0;
  readonly #first: string[] = [];

  add(userId: string): void {
    this.#count += 1;
    if (this.#first.length < NAMED) this.#first.push(printable(userId));
  }

  get count(): number {
    return this.#count;
  }

  /** @param how what became of them, such as `and are sealed now` */
  warnings(how: string): readonly Warning[] {
    if (this.#count === 0) return [];
    const more = this.#count > NAMED ? `, … and ${formatNumber(this.#count - NAMED)} more` : "";
    const which = `${counted(this.#count, "key was", "keys were")} stored in plain text ${how}: ${this.#first.join(", ")}${more}`;
    const them = plural(this.#count, "it", "them");
    const message = `${which}; another program may have put ${them} there: see that https://openrouter.ai/keys lists ${them} as yours`;
    return [{ code: "PLAIN_KEYS_SEALED", message }];
  }
}

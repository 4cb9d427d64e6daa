import { counted, plural } from "../../core/text/format.ts";
import type { Warning, WarningCode } from "../../core/model/warning.ts";

type Sentence = (keys: string, count: number) => string;

/** Warnings about one key each: a run over many users counts them and prints the advice once. */
const OF_ONE_KEY: Readonly<Partial<Record<WarningCode, Sentence>>> = {
  KEY_EXPIRED: (keys, count) =>
    `${keys} ${plural(count, "has", "have")} expired: keyctl validate --all   asks OpenRouter`,
  KEY_KNOWN_INVALID: (keys, count) =>
    `${keys} ${plural(count, "was", "were")} found invalid before: keyctl list --verdict invalid   names ${plural(count, "it", "them")}`,
  KEY_IN_PLAIN_TEXT: (keys, count) =>
    `${keys} ${plural(count, "is", "are")} stored in plain text; keyctl rekey   encrypts ${plural(count, "it", "them")}`,
  EXPIRY_UNKNOWN: (keys, count) =>
    `when ${keys} ${plural(count, "expires", "expire")} cannot be read: keyctl validate --all   asks OpenRouter`,
  LIMIT_WHOLE_AGAIN: (keys, count) =>
    `${keys} ${plural(count, "has", "have")} the whole limit of a deleted one again, because what was left of it is not known`,
  TIME_IN_FUTURE: (keys, count) =>
    `${keys} ${plural(count, "has", "have")} a time in the future, which counts as never: keyctl validate --all   asks OpenRouter`,
};

/**
 * The warnings of a run over many users, in constant memory: those about one key each as a count, the others once each.
 */
export class WarningSummary {
  readonly #counts = new Map<WarningCode, number>();
  readonly #others = new Map<string, Warning>();

  add(warnings: readonly Warning[]): void {
    for (const warning of warnings) {
      const { code, message } = warning;
      if (OF_ONE_KEY[code] === undefined) this.#others.set(code + message, warning);
      else this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1);
    }
  }

  get all(): readonly Warning[] {
    const counts = [...this.#counts].flatMap(([code, count]) => {
      const sentence = OF_ONE_KEY[code];
      return sentence === undefined ? [] : [{ code, message: sentence(counted(count, "key"), count) }];
    });
    return [...this.#others.values(), ...counts];
  }
}

import { KeyctlError } from "../../core/model/errors.ts";

const MAX_KEPT_BYTES = 16 * 1024 * 1024;

/** Standard input that may be read twice. */
export interface KeptInput {
  /** Reads all of it, for the first time. Throws USAGE for more than can be kept. */
  readonly first: () => AsyncIterable<Uint8Array>;
  /** The kept input; else the input as it arrives. */
  readonly last: () => AsyncIterable<Uint8Array>;
}

export function keptInput(open: () => AsyncIterable<Uint8Array>): KeptInput {
  let kept: Uint8Array[] | undefined;
  return {
    async *first() {
      kept = [];
      let size = 0;
      for await (const chunk of open()) {
        size += chunk.length;
        if (size > MAX_KEPT_BYTES) throw tooMuch();
        // The reader reuses its buffer.
        kept.push(Uint8Array.from(chunk));
        yield chunk;
      }
    },
    async *last() {
      yield* kept ?? open();
    },
  };
}

function tooMuch(): KeyctlError {
  return new KeyctlError("USAGE", "more than 16 MiB of user ids were read: too many to count before keys are created", {
    hint: "--max-keys <n>   creates up to n keys without counting; or --users-file <path>",
  });
}

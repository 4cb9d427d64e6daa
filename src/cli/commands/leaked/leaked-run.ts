import { inOrder } from "../../../core/async/in-order.ts";
import { KeyctlError, isKeyctlError, RUN_FATAL_CODES } from "../../../core/model/errors.ts";
import { leakedFailed } from "../../../core/model/leaked-results.ts";
import type { LeakedResult } from "../../../core/model/leaked-results.ts";
import type { KeyManager } from "../../../core/manager/manager.ts";
import { ROTATED_AT_ONCE } from "../../../core/model/number-options.ts";
import type { LeakedFlags } from "./leaked-flags.ts";
import { ofLine } from "./leaked-lines.ts";
import type { LeakedLine } from "./leaked-lines.ts";

/**
 * **Order:** all keys of a report are disabled before the first one is replaced: a replacement takes longer. A report that is
 * longer than a block, or that pauses, is handled block by block, in constant memory.
 */

const MAX_BLOCK = 1_000;
/** Lines that are there are not kept waiting by an input that stays open. */
const QUIET_MS = 1_000;

interface HandledLine {
  readonly line: number | null;
  /** Undefined for a key that was not begun, because a failure concerns all keys. */
  readonly result: LeakedResult | undefined;
}

export class LeakedRun {
  readonly #manager: KeyManager;
  readonly #flags: LeakedFlags;
  readonly #signal: AbortSignal;
  #begun = 0;
  /** Of the keys of this block that were disabled in advance. */
  readonly #disabled = new Map<string, LeakedResult>();
  /** A failure that concerns all keys. */
  fatal: KeyctlError | null = null;

  constructor(manager: KeyManager, flags: LeakedFlags, signal: AbortSignal) {
    this.#manager = manager;
    this.#flags = flags;
    this.#signal = signal;
  }

  /** One result for each line, in their order. */
  async *results(lines: AsyncGenerator<LeakedLine>): AsyncGenerator<HandledLine> {
    const { concurrency = ROTATED_AT_ONCE, dryRun } = this.#flags;
    for await (const block of blocksOf(lines)) {
      if (block.length > concurrency && dryRun !== true) await this.#disableAll(block, concurrency);
      yield* inOrder(block, concurrency, (each) => this.#handle(each));
      this.#disabled.clear();
    }
  }

  async #disableAll(block: readonly LeakedLine[], concurrency: number): Promise<void> {
    const { maxKeys = Number.POSITIVE_INFINITY, reason } = this.#flags;
    const keys = block.flatMap(({ given }) => (isKeyctlError(given) ? [] : [given])).slice(0, maxKeys - this.#begun);
    const disable = async ({ key, hash }: (typeof keys)[number]) => {
      if (this.fatal !== null) return;
      const options = { signal: this.#signal, reason, disableOnly: true };
      this.#disabled.set(hash, this.#noted(await this.#manager.leaked(key ?? hash, options)));
    };
    for await (const _ of inOrder(keys, concurrency, disable));
  }

  async #handle({ line, given }: LeakedLine): Promise<HandledLine> {
    const { maxKeys = Number.POSITIVE_INFINITY, since, dryRun, reason } = this.#flags;
    if (isKeyctlError(given)) return { line, result: leakedFailed(null, given) };
    const after = this.#disabled.get(given.hash);
    if (this.fatal !== null && (after?.disabledAt ?? null) === null) return { line, result: after };
    if (this.#begun >= maxKeys) return { line, result: leakedFailed(given.hash, leftOver(maxKeys)) };
    this.#begun += 1;
    const options = { signal: this.#signal, since, dryRun, reason, after };
    const handled = this.#noted(await this.#manager.leaked(given.key ?? given.hash, options));
    const result = { ...handled, warnings: allWarnings(after, handled) };
    const { error } = result;
    if (error?.code !== "BAD_KEY_FORMAT") return { line, result };
    return { line, result: { ...result, error: ofLine(error, line) } };
  }

  /** Where a key could be disabled, the others can be, too. */
  #noted(result: LeakedResult): LeakedResult {
    const { error, disabledAt } = result;
    if (error !== null && disabledAt === null && RUN_FATAL_CODES.has(error.code)) this.fatal ??= error;
    return result;
  }
}

async function* blocksOf(lines: AsyncGenerator<LeakedLine>): AsyncGenerator<readonly LeakedLine[]> {
  let next = lines.next();
  // It is awaited below.
  next.catch(() => {});
  for (;;) {
    const block: LeakedLine[] = [];
    let failure: { readonly thrown: unknown } | undefined;
    let isOver = false;
    while (block.length < MAX_BLOCK && !isOver) {
      try {
        const read = block.length === 0 ? await next : await unlessQuiet(next);
        if (read === "quiet") break;
        if (read.done === true) isOver = true;
        else {
          block.push(read.value);
          next = lines.next();
          next.catch(() => {});
        }
      } catch (thrown) {
        failure = { thrown };
        isOver = true;
      }
    }
    if (block.length > 0) yield block;
    if (failure !== undefined) throw failure.thrown;
    if (isOver) return;
  }
}

async function unlessQuiet<Read>(next: Promise<Read>): Promise<Read | "quiet"> {
  let timer: NodeJS.Timeout | undefined;
  const quiet = new Promise<"quiet">((resolve) => (timer = setTimeout(() => resolve("quiet"), QUIET_MS)));
  try {
    return await Promise.race([next, quiet]);
  } finally {
    clearTimeout(timer);
  }
}

/** A manager reports some warnings once, with its next result. */
function allWarnings(earlier: LeakedResult | undefined, { warnings }: LeakedResult): LeakedResult["warnings"] {
  const missing = (earlier?.warnings ?? []).filter(
    ({ message }) => !warnings.some((other) => other.message === message),
  );
  return [...missing, ...warnings];
}

function leftOver(maxKeys: number): KeyctlError {
  const message = `the key was not looked at and may still work: this run may handle no more than ${maxKeys}`;
  return new KeyctlError("PROVISION_CAP", message, {
    hint: "run it again for the keys that are left",
    retryable: true,
  });
}

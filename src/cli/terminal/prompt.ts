import { PassThrough, Writable } from "node:stream";
import { confirm, input, password } from "@inquirer/prompts";
import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import { fdOutput, isTerminal } from "./fd-output.ts";
import { waitForHangUp } from "./hang-up.ts";
import type { AtEnd } from "./process-end.ts";
import { yieldToEventLoop } from "../../core/async/sleep.ts";

/** Asks on stderr, so that stdout stays for results. Rejects with INTERRUPTED on Ctrl-C, Ctrl-D and every signal. */
export interface Prompt {
  readonly confirm: (question: string) => Promise<boolean>;
  readonly secret: (question: string) => Promise<string>;
  readonly text: (question: string) => Promise<string>;
}

/** The streams that the library uses instead of the terminal itself. */
interface Context {
  readonly input: PassThrough;
  readonly output: Screen;
  readonly signal: AbortSignal;
}

/**
 * What becomes of input before the question. It must not answer a question that nobody has read; a key is pasted right
 * behind the command.
 */
type Earlier = "dropped" | "taken";
type Question<Answer> = (context: Context) => Promise<Answer>;

/** The library redraws the line for each character, which takes 1 ms each and blocks signals; no answer is that long. */
const MAX_TYPED_BYTES = 2048;
const LF = 0x0a;
const CR = 0x0d;
const CTRL_C = 0x03;
const CTRL_Z = 0x1a;
const HIDE_CURSOR = "\u001B[?25l";
/** Instead of an answer: the process was stopped and resumed, and the shell may have changed the screen and its modes. */
const RESUMED = Symbol("resumed");

const asItIs = (text: string) => text;
const style = { message: asItIs, answer: asItIs, help: asItIs, defaultAnswer: (text: string) => `(${text})` };
const theme = { prefix: "?", style: { ...style, error: asItIs, maskedText: "(not shown)" } };

/** @param hold leaves the terminal to a question until its result is called */
export function promptOnStderr(signal: AbortSignal, atEnd: AtEnd, hold: () => () => void): Prompt {
  const ask = async <Answer>(question: Question<Answer>, earlier: Earlier = "dropped") => {
    signal.throwIfAborted();
    const release = hold();
    const forgetMode = atEnd(() => process.stdin.setRawMode(false));
    try {
      for (;;) {
        const answer = await askOnce(question, signal, earlier);
        if (answer !== RESUMED) return answer;
      }
    } catch (thrown) {
      // Every failure on a closed terminal has that cause.
      if (isKeyctlError(thrown) || isTerminal(0)) throw thrown;
      await waitForHangUp(signal);
      throw inputEnded();
    } finally {
      forgetMode();
      release();
    }
  };
  return {
    confirm: (message) => ask((context) => confirm({ message, default: false, theme }, context)),
    secret: (message) => ask((context) => password({ message, toggleMask: false, theme }, context), "taken"),
    text: (message) => ask((context) => input({ message, theme }, context)),
  };
}

/**
 * The library shows the question and edits the line. keyctl handles the terminal and its signals itself: the library leaves
 * a question open when its input ends, crashes when the terminal is gone, and freezes without a shell to resume it.
 */
async function askOnce<Answer>(
  question: Question<Answer>,
  signal: AbortSignal,
  earlier: Earlier,
): Promise<Answer | typeof RESUMED> {
  const { stdin } = process;
  const keys = new PassThrough();
  const ending = new AbortController();
  const over = AbortSignal.any([signal, ending.signal]);
  let isAsked = earlier === "taken";
  let room = MAX_TYPED_BYTES;
  const end = async (isSignalled = false) => {
    if (isSignalled || !isTerminal(0)) await waitForHangUp(signal).catch(() => {});
    ending.abort(inputEnded());
  };
  const endInput = () => void end();
  const resume = () => ending.abort(RESUMED);
  const take = (typed: Buffer) => {
    if (typed.includes(CTRL_C)) {
      // Input after the answer is dropped.
      stdin.off("data", take);
      process.kill(process.pid, "SIGINT");
      void end(true);
    } else if (typed.includes(CTRL_Z) && process.platform !== "win32") {
      stdin.setRawMode(false);
      process.kill(0, "SIGTSTP");
      stdin.setRawMode(true);
      // SIGTSTP is ignored without a shell that could resume the process; then there is no SIGCONT either.
      void yieldToEventLoop().then(resume);
    } else if (isAsked && room > 0) {
      const line = firstLine(typed);
      keys.write(line.subarray(0, room));
      room -= line.length;
      if (line.length < typed.length) keepForNext(typed.subarray(line.length), take);
    }
  };
  // Setting the mode of a closed terminal fails, even if it is no longer read.
  if (stdin.listenerCount("error") === 0) stdin.on("error", () => {});
  stdin.on("error", endInput).on("end", endInput).on("data", take);
  process.on("SIGCONT", resume);
  try {
    stdin.setRawMode(true).resume();
    if (!isTerminal(0)) endInput();
    await yieldToEventLoop();
    isAsked = true;
    // The library closes its readline at Ctrl-D without a result.
    keys.once("pause", endInput);
    return await question({ input: keys, output: new Screen(), signal: over });
  } catch (thrown) {
    if (over.reason === RESUMED) return RESUMED;
    over.throwIfAborted();
    throw thrown;
  } finally {
    process.off("SIGCONT", resume);
    stdin.off("error", endInput).off("end", endInput).off("data", take);
    stdin.setRawMode(false).pause();
  }
}

/** Input behind an answer is for the next question. */
function keepForNext(typed: Buffer, take: (typed: Buffer) => void): void {
  process.stdin.off("data", take).pause().unshift(typed);
}

/** All up to the end of a line and with it; of CR LF, both. */
function firstLine(typed: Buffer): Buffer {
  const end = typed.findIndex((byte) => byte === CR || byte === LF);
  if (end === -1) return typed;
  return typed.subarray(0, typed[end] === CR && typed[end + 1] === LF ? end + 2 : end + 1);
}

/** Standard error. The cursor is never hidden: a broken connection would leave it hidden. */
class Screen extends Writable {
  readonly #stderr = fdOutput(2);

  get columns(): number | undefined {
    return this.#stderr.columns;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // A failed write is ignored, but later output must not overtake it.
    this.#stderr.write(chunk.toString().replaceAll(HIDE_CURSOR, "")).catch(() => {});
    done();
  }
}

function inputEnded(): KeyctlError {
  return new KeyctlError("INTERRUPTED", "interrupted: the input of the terminal has ended");
}

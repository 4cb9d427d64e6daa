import { anySignal } from "../../core/async/deadline.ts";
import { KeyctlError } from "../../core/model/errors.ts";
import type { Invocation } from "../invocation.ts";
import { keptInput } from "./kept-input.ts";
import type { KeptInput } from "./kept-input.ts";
import { isPiped } from "./selection.ts";
import type { Many } from "./selection.ts";
import { bytesOf, USERS_FILE } from "./users-file.ts";

/** The pipe that the users of a run come from, if they come from one. */
export interface UsersInput extends KeptInput {
  readonly isPiped: boolean;
  /** What it is called; undefined if the users do not come from a pipe. */
  readonly name: string | undefined;
  /** The same error, which says that nothing came if that is its cause. */
  readonly explained: (error: KeyctlError) => KeyctlError;
}

/** @param timeOver ends the input */
export function usersInput(invocation: Invocation, selection: Many, timeOver: AbortSignal | undefined): UsersInput {
  const { signal } = invocation;
  const path = selection.kind === "file" ? selection.path : "-";
  let hasCome = false;
  const kept = keptInput(async function* () {
    const bytes =
      path === "-"
        ? invocation.inputStream(timeOver, "user ids, one per line,")
        : bytesOf(path, USERS_FILE, timeOver === undefined ? signal : anySignal(signal, timeOver));
    for await (const chunk of bytes) {
      hasCome = true;
      yield chunk;
    }
  });
  const isFromPipe = isPiped(selection);
  const name = isFromPipe ? (path === "-" ? "standard input" : "the users file") : undefined;
  return {
    ...kept,
    isPiped: isFromPipe,
    name,
    explained: (error) => (name === undefined || hasCome ? error : nothingCame(error, name)),
  };
}

/** An empty selection, with its cause. */
export function nothingCame(error: KeyctlError, from: string): KeyctlError {
  const { code, message, hint } = error;
  if (code !== "EMPTY_SELECTION") return error;
  const cause = from === "standard input" ? "nothing came on standard input" : `${from} held nothing`;
  return new KeyctlError(code, `${message}: ${cause}`, hint === null ? {} : { hint });
}

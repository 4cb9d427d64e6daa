import { isKeyctlError } from "../model/errors.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";

/** Keys that were created on this machine and could not be stored are imported first. */
export async function importSpooled(user: UserId, context: Context, signal: AbortSignal): Promise<void> {
  if (!context.spool.mayHoldKeys()) return;
  const { importSpool } = await import("./import-spool.ts");
  await importSpool(user, context, signal);
}

export type OnSpooled = (user: UserId, context: Context, signal: AbortSignal) => Promise<void>;

/** A damaged file is the error of its user. */
export async function spoolFailures(
  batch: readonly UserId[],
  context: Context,
  onSpooled: OnSpooled,
  signal: AbortSignal,
): Promise<readonly (readonly [UserId, KeyctlError])[]> {
  const failures: (readonly [UserId, KeyctlError])[] = [];
  for (const user of context.spool.mayHoldKeys() ? batch : []) {
    try {
      await onSpooled(user, context, signal);
    } catch (thrown) {
      if (!isKeyctlError(thrown) || thrown.code !== "ROW_UNREADABLE") throw thrown;
      failures.push([user, thrown]);
    }
  }
  return failures;
}

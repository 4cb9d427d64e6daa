import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";

/** Keys that were created on this machine and could not be stored are imported first. */
export async function importSpooled(user: UserId, context: Context, signal: AbortSignal): Promise<void> {
  if (!context.spool.mayHoldKeys()) return;
  const { importSpool } = await import("./import-spool.ts");
  await importSpool(user, context, signal);
}

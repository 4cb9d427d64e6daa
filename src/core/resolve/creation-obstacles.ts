import { hasRoomUnderCap } from "../protocol/hourly-cap.ts";
import { managementKeyMissing } from "../model/management-key.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";

/** Throws MANAGEMENT_KEY_MISSING, CONFIG_CONFLICT or CONFIG_INVALID: the error that each user would fail with. */
export function assertManagementKey({
  hasManagementKey,
  managementKey,
}: Pick<Context, "hasManagementKey" | "managementKey">): void {
  if (!hasManagementKey()) throw managementKeyMissing("no key can be created");
  managementKey();
}

/** Rejects with the error that creating a key for a user without a row would fail with before OpenRouter is asked. */
export async function assertCanCreate(
  user: UserId,
  context: Pick<Context, "store" | "managementKey" | "assertCanSeal">,
  signal: AbortSignal,
): Promise<void> {
  await context.store.assertAbsent?.(user, signal);
  context.managementKey();
  await context.assertCanSeal(signal);
}

/**
 * Rejects with PROVISION_CAP if the hourly cap is used up. Operations without an outcome may use up the rest of it;
 * they do not count yet.
 */
export async function assertRoomUnderCap(
  context: Pick<Context, "journal" | "provisioning" | "clock">,
  signal: AbortSignal,
): Promise<void> {
  await hasRoomUnderCap(context, context.clock.now().toISOString(), 0, signal);
}

import { KeyctlError } from "../model/errors.ts";
import type { AccountBinding, Journal } from "../ports/journal.ts";

interface Ends {
  readonly source: Journal;
  readonly destination: Journal;
}

/** Throws CONFLICT if the destination is bound to another account at OpenRouter than the source. */
export async function refuseOtherAccount({ source, destination }: Ends, signal: AbortSignal): Promise<void> {
  const [from, to] = [await source.account(signal), await destination.account(signal)];
  if (from === undefined || to === undefined || isSame(from, to)) return;
  throw new KeyctlError("CONFLICT", "the destination is bound to another account at OpenRouter; nothing was copied", {
    hint: "keyctl reconcile --adopt-account --store <destination>   with a management key of the source's account",
  });
}

/**
 * Binds an unbound destination to the account of the source. A bound destination keeps its account and gets the later
 * of the two adoption times, because a copied key may be older than that adoption.
 */
export async function copyAccount({ source, destination }: Ends, signal: AbortSignal): Promise<void> {
  const account = await source.account(signal);
  if (account === undefined || (await destination.bindAccount(account, signal))) return;
  const stands = await destination.account(signal);
  const { adoptedAt } = account;
  if (stands === undefined || adoptedAt === null || adoptedAt <= (stands.adoptedAt ?? "")) return;
  await destination.rebindAccount({ ...stands, adoptedAt }, signal);
}

/** Two bindings without a common property are not refused. */
function isSame(one: AccountBinding, other: AccountBinding): boolean {
  if (one.organization !== null && other.organization !== null) return one.organization === other.organization;
  if (one.workspaces.length === 0 || other.workspaces.length === 0) return true;
  return one.workspaces.some((workspace) => other.workspaces.includes(workspace));
}

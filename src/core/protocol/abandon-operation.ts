import { deadlineIn } from "../async/deadline.ts";
import type { Context } from "../context.ts";
import { isKeyctlError } from "../model/errors.ts";
import { keyNameOf } from "../model/key-name.ts";
import type { UserId } from "../model/user-id.ts";
import type { Operation } from "../ports/journal.ts";
import type { AccountKeys } from "./management-access.ts";
import { removeUpstream, unreferenced } from "./delete-upstream.ts";
import { appendEntry } from "./write-journal.ts";

/** Time to look for a key that may exist and to remove it, once the caller's time is over. */
export const CLEAN_UP_MS = 20_000;

/** Nothing was created, so there is nothing to look for. */
export async function abandonOperationWithoutKey(
  user: UserId,
  n: number,
  context: Pick<Context, "journal" | "clock">,
): Promise<void> {
  await appendEntry(user, { kind: "out", n, outcome: "abandoned" }, context, AbortSignal.timeout(CLEAN_UP_MS));
}

/**
 * Abandons an operation that may have created a key, then finds that key at OpenRouter and removes it. False if a key may
 * be left; the next reconcile finds it.
 */
export async function abandonOperation(
  user: UserId,
  operation: Operation,
  context: Pick<Context, "store" | "journal" | "clock" | "history"> & { readonly keys: AccountKeys },
  signal: AbortSignal,
): Promise<boolean> {
  const { keys, journal } = context;
  const { n, workspace } = operation;
  const outcome = await appendEntry(user, { kind: "out", n, outcome: "abandoned" }, context, signal);
  if (outcome.outcome === "saved") return true;
  const name = keyNameOf(await journal.deployment(signal), user, operation);
  const budget = () => deadlineIn(CLEAN_UP_MS, signal);
  const matches: string[] = [];
  let isClean = true;
  try {
    for await (const page of keys.list({ kind: "workspace", workspace }, budget)) {
      if (page.status === "unknown") isClean = false;
      else matches.push(...page.keys.filter((key) => key.name === name).map(({ hash }) => hash));
    }
    for (const hash of await unreferenced(matches, context, () => signal)) {
      const key = { keyHash: hash, keyTail: null, generation: n };
      context.history.note({ event: "abandoned", userId: user, key, isFinished: true });
      const removal = await removeUpstream(hash, keys, budget());
      if (removal.status === "unknown") isClean = false;
    }
    return isClean;
  } catch (thrown) {
    if (isKeyctlError(thrown) && thrown.code === "MANAGEMENT_KEY_REFUSED") return false;
    throw thrown;
  }
}

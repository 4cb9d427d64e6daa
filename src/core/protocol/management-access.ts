import type { Context } from "../context.ts";
import type { AttachResult, Unknown, UpstreamKeys } from "../ports/openrouter.ts";
import { managementKeyMissing } from "../model/management-key.ts";
import type { Deadline } from "../async/deadline.ts";
import type { AccountOnUse } from "../ports/account.ts";

type ManagementAccess = Pick<Context, "openRouter" | "managementKey" | "account">;

/** The keys of an account, and what names them there. */
export interface AccountKeys extends UpstreamKeys {
  readonly restrictions: AccountOnUse["restrictions"];
}

/**
 * Access to OpenRouter with the management key; undefined without one. Throws CONFIG_… errors. The access rejects with
 * MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT before it changes a key or reports that a key is missing.
 */
export async function upstreamKeys({
  openRouter,
  managementKey,
  account,
}: ManagementAccess): Promise<AccountKeys | undefined> {
  const key = managementKey();
  return key === undefined ? undefined : guarded((await openRouter.open()).withManagementKey(key), account);
}

/**
 * As `upstreamKeys`. Throws MANAGEMENT_KEY_MISSING without a management key.
 * @param what what cannot be done without it
 */
export async function requireUpstreamKeys(access: ManagementAccess, what: string): Promise<AccountKeys> {
  const keys = await upstreamKeys(access);
  if (keys === undefined) throw managementKeyMissing(what);
  return keys;
}

/** As `requireUpstreamKeys`, before any change. Rejects also with MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT, and as `Account.standing` does. */
export async function requireOwnAccount(
  access: ManagementAccess,
  what: string,
  signal: AbortSignal,
): Promise<AccountKeys> {
  const keys = await requireUpstreamKeys(access, what);
  await (await access.account.open()).standing(signal);
  return keys;
}

function guarded(keys: UpstreamKeys, account: AccountOnUse): AccountKeys {
  const standing = async ({ signal }: Deadline) => (await account.open()).standing(signal);
  /** Keys that were in this account: a key that is missing there now was deleted. */
  const seen = new Set<string>();
  const proven = async <Answer extends { readonly status: string }>(
    hash: string,
    answer: Answer,
    deadline: Deadline,
  ) => {
    if (answer.status === "done" || answer.status === "found") seen.add(hash);
    if (answer.status !== "gone" || seen.has(hash)) return answer;
    return (await standing(deadline)) === "unknown" ? UNPROVEN : answer;
  };
  const attached = async (deadline: Deadline, attach: () => Promise<AttachResult>): Promise<AttachResult> => {
    const proof = await standing(deadline);
    const answer = await attach();
    return answer.status === "gone" && proof === "unknown" ? UNPROVEN : answer;
  };
  return {
    restrictions: account.restrictions,
    create: (request, budget) => keys.create(request, budget),
    async find(hash, budget) {
      const answer = await proven(hash, await keys.find(hash, budget), budget);
      if (answer.status !== "gone" || seen.has(hash)) return answer;
      return (await (await account.open()).mayBeElsewhere(hash, budget.signal)) ? ELSEWHERE : answer;
    },
    // A key that a change does not find is looked up, or asked itself, before it counts as deleted.
    async disable(hash, budget) {
      await standing(budget);
      return proven(hash, await keys.disable(hash, budget), budget);
    },
    async remove(hash, budget) {
      await standing(budget);
      return proven(hash, await keys.remove(hash, budget), budget);
    },
    async setLimit(hash, limit, budget) {
      await standing(budget);
      return proven(hash, await keys.setLimit(hash, limit, budget), budget);
    },
    guardrailAssignments: (budget) => keys.guardrailAssignments(budget),
    assignGuardrail: (guardrail, hash, budget) => attached(budget, () => keys.assignGuardrail(guardrail, hash, budget)),
    unassignGuardrail: (guardrail, hash, budget) =>
      attached(budget, () => keys.unassignGuardrail(guardrail, hash, budget)),
    allowLists: (workspaces, budget) => keys.allowLists(workspaces, budget),
    setAllowedKeys: (credential, hashes, budget) =>
      attached(budget, () => keys.setAllowedKeys(credential, hashes, budget)),
    list: (scope, budget) => keys.list(scope, budget),
    workspaces: (budget) => keys.workspaces(budget),
    organization: (budget) => keys.organization(budget),
    credits: (budget) => keys.credits(budget),
    activity: (hash, budget) => keys.activity(hash, budget),
    pause: (refusal, attempt, budget) => keys.pause(refusal, attempt, budget),
  };
}

const UNPROVEN = missing("it is not known whether the management key belongs to the account of this database");
const ELSEWHERE = missing("the key is older than the database's binding to this account, and may be in the one before");

function missing(why: string): Unknown {
  return {
    status: "unknown",
    reason: "provider_error",
    httpStatus: 404,
    attempts: 1,
    detail: `answered 404, which proves nothing: ${why}`,
    remedy: undefined,
  };
}

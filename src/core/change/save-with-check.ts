import { isTimeout, toKeyctlError } from "../async/deadline.ts";
import type { CallOptions } from "../async/deadline.ts";
import type { Context } from "../context.ts";
import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError } from "../model/errors.ts";
import { givenUserKey, requireOrigin } from "./given-user-key.ts";
import { saveFailed } from "../model/results.ts";
import type { CheckedSaveResult, SaveResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import { lastCheckOf } from "../model/verdict.ts";
import type { Verdict } from "../model/verdict.ts";
import type { Warning } from "../model/warning.ts";
import { counted, plural } from "../text/format.ts";
import type { Validation } from "../validate/validate-key.ts";
import { saveKey } from "./save-key.ts";
import type { Replace } from "./save-key.ts";

export interface SaveOptions extends CallOptions {
  /** The origin of the key, stored in the row. Default `manual`. */
  readonly source?: string | undefined;
  /** Which other key may be replaced: none, any, or the one with this hash. */
  readonly replace?: Replace | undefined;
  /** Ask OpenRouter first, and store only a valid key. Default false. */
  readonly validate?: boolean | undefined;
  /** Also delete the replaced key at OpenRouter, if keyctl created it. Default false. */
  readonly revoke?: boolean | undefined;
}

/**
 * Saves a key and, with `validate`, asks OpenRouter about it before any write; the verdict is then recorded with the key.
 * Throws BAD_KEY_FORMAT, KEY_IS_MASKED, MANAGEMENT_KEY_AS_USER_KEY, USAGE, and what `saveKey` throws.
 */
export async function saveWithCheck(
  user: UserId,
  { key, ...options }: SaveOptions & { readonly key: string | ApiKey },
  context: Context,
  signal: AbortSignal,
): Promise<CheckedSaveResult> {
  const { source = "manual", replace = "none", validate = false, revoke = false } = options;
  const parsed = keyToSave(key, user, context);
  requireOrigin(source, "--source manual");
  const request = { key: parsed, origin: source, replace, revoke };
  const shared = async ({ changed, error }: SaveResult) =>
    changed && error === null ? sharedWarnings(user, parsed, context, signal) : [];
  if (!validate) {
    const saved = await saveKey(user, request, context, signal);
    return { ...saved, warnings: [...saved.warnings, ...(await shared(saved))], verdict: null };
  }
  const check = new SaveCheck(parsed, options, context);
  try {
    const saved = await saveKey(user, { ...request, approve: () => check.approve() }, context, signal);
    const more = saved.error === null ? await check.record(user) : [];
    return { ...saved, warnings: [...saved.warnings, ...(await shared(saved)), ...more], verdict: check.verdict };
  } catch (thrown) {
    return saveFailed(user, toKeyctlError(thrown, signal), check.verdict);
  }
}

/** OpenRouter's verdict on the key to be saved: asked for once, however many races the save loses. */
class SaveCheck {
  readonly #key: ApiKey;
  readonly #options: CallOptions;
  readonly #context: Context;
  #found: Validation | undefined;

  constructor(key: ApiKey, options: CallOptions, context: Context) {
    this.#key = key;
    this.#options = options;
    this.#context = context;
  }

  get verdict(): Verdict | null {
    return this.#found?.verdict ?? null;
  }

  /** Throws the reason if the key may not be stored. */
  async approve(): Promise<void> {
    if (this.#found === undefined) {
      const { validateContext, validateKey } = await import("../validate/validate-key.ts");
      const asking = validateContext(this.#options, this.#context);
      this.#found = await validateKey(this.#key, this.#context, asking, asking.newSignal());
    }
    if (this.#found.error !== null) throw this.#found.error;
  }

  /** Records the verdict with the key that was saved because of it. */
  async record(user: UserId): Promise<readonly Warning[]> {
    const { verdict = null, checkedAt = null } = this.#found ?? {};
    if (verdict === null || verdict.status === "unknown" || checkedAt === null) return [];
    const { recordSavedCheck, validateContext } = await import("../validate/validate-key.ts");
    const { newSignal } = validateContext(this.#options, this.#context);
    const check = lastCheckOf(verdict, checkedAt);
    return recordSavedCheck({ userId: user, keyHash: this.#key.hash, check }, this.#context.store, newSignal);
  }
}

/** Throws BAD_KEY_FORMAT, KEY_IS_MASKED, MANAGEMENT_KEY_AS_USER_KEY. */
function keyToSave(key: string | ApiKey, user: UserId, { managementKeyHashes, log }: Context): ApiKey {
  try {
    return givenUserKey(key, user, managementKeyHashes());
  } catch (thrown) {
    log({ kind: "not-saving" });
    throw thrown;
  }
}

/** Another user has the key, too. A failure to look does not undo the save. */
async function sharedWarnings(
  user: UserId,
  { hash }: ApiKey,
  { store }: Pick<Context, "store">,
  signal: AbortSignal,
): Promise<readonly Warning[]> {
  let others = 0;
  try {
    for await (const { userId } of store.scan(() => signal, hash)) if (userId !== user) others += 1;
  } catch (thrown) {
    if (!isKeyctlError(thrown) && !isTimeout(thrown)) throw thrown;
  }
  if (others === 0) return [];
  const message = `${counted(others, "other user")} ${plural(others, "has", "have")} the same key: keyctl list --hash ${hash}   names all of them`;
  return [{ code: "KEY_SHARED", message }];
}

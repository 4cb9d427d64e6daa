import { toKeyctlError } from "../async/deadline.ts";
import type { EnsureOptions, ManagerContext } from "./manager-options.ts";
import type { ApiKey } from "../model/api-key.ts";
import type { KeyctlError } from "../model/errors.ts";
import { parsedKey } from "../model/parse-key.ts";
import type { EnsureResult, SyncedKey, SyncResult } from "../model/results.ts";
import { withoutChecked } from "../model/stored-key-warnings.ts";
import { parseUserId } from "../model/user-id.ts";
import type { OpenWork } from "../open-work.ts";
import { conflictError } from "../protocol/contention.ts";
import type { ValidateOptions, Validation } from "../validate/validate-key.ts";

/** The calls that ask OpenRouter about one key. The first call loads the modules. */
export class ValidatingCalls {
  readonly #context: ManagerContext;
  readonly #work: OpenWork;

  constructor(context: ManagerContext, work: OpenWork) {
    this.#context = context;
    this.#work = work;
  }

  async stored(userId: string, options: ValidateOptions): Promise<Validation> {
    return this.#work.run(userId, options, validationFailed, async (user, signal) => {
      const { validateContext, validateStored } = await import("../validate/validate-key.ts");
      return validateStored(user, this.#context, validateContext(options, this.#context), signal);
    });
  }

  async found({ userId, keyHash }: SyncedKey, options: ValidateOptions): Promise<Validation> {
    const validation = await this.stored(userId, options);
    if (validation.keyHash === keyHash || validation.verdict === null) return validation;
    return validationFailed(userId, conflictError(parseUserId(userId)));
  }

  async given(key: string | ApiKey, options: ValidateOptions): Promise<Validation> {
    try {
      const validation = await this.#work.track(options, async (signal) => {
        const { validateContext, validateKey } = await import("../validate/validate-key.ts");
        return validateKey(parsedKey(key), this.#context, validateContext(options, this.#context), signal);
      });
      return this.#work.withWarnings(validation);
    } catch (thrown) {
      return validationFailed(null, toKeyctlError(thrown));
    }
  }

  /** The result of a sync and, with `validate`, whether its key works. */
  async ensured(result: SyncResult, { validate = false, ...options }: EnsureOptions): Promise<EnsureResult> {
    if (result.error !== null)
      return { key: null, source: null, valid: null, warnings: result.warnings, error: result.error };
    const { key, source, warnings } = result;
    if (!validate) return { key, source, valid: null, warnings, error: null };
    const { verdict, checkedAt, warnings: ofCheck, error } = await this.found(result, options);
    const said = [...(checkedAt === null ? warnings : withoutChecked(warnings)), ...ofCheck];
    if (error === null) return { key, source, valid: true, warnings: said, error };
    return { key, source, valid: verdict?.status === "invalid" ? false : null, warnings: said, error };
  }
}

async function validationFailed(userId: string | null, error: KeyctlError): Promise<Validation> {
  return (await import("../validate/validate-key.ts")).validationFailed(userId, error);
}

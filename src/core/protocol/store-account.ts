import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { SingleFlight } from "../async/single-flight.ts";
import type { AccountBinding } from "../ports/journal.ts";
import type { Context } from "../context.ts";
import { isTimeout, deadlineIn } from "../async/deadline.ts";
import type { UpstreamKey, UpstreamKeys } from "../ports/openrouter.ts";
import { lookAtAccount, provenBy } from "./compare-account.ts";
import type { Sight } from "./compare-account.ts";
import type { Warning } from "../model/warning.ts";
import type { Account, Standing } from "../ports/account.ts";
import type { Timestamp } from "../model/key-record.ts";

/**
 * **Invariant:** nothing is created, changed or deleted at OpenRouter, and no missing key counts as deleted, before the
 * management key is known to belong to the account that the store is bound to. If that cannot be known, work continues with
 * a warning, and a missing key is unknown, never deleted. The same holds for a key older than the store's binding.
 */

const OURS: Sight = { status: "ours", unboundKey: null };
/** For all requests of one comparison, in milliseconds. */
const LOOK_MS = 10_000;
/** For the binding after the first key was created: its owner waits for it. */
const BINDING_MS = 3_000;
/** An unknown or wrong account may be corrected while a server runs: it is compared again after this time, not on every call. */
const ASK_AGAIN_MS = 60_000;
/** For an account with more workspaces, any of these identifies it. */
const MAX_WORKSPACES = 100;
const MAX_HASHES = 500;

/** One comparison per process. */
export class StoreAccount implements Account {
  readonly #context: Pick<Context, "journal" | "openRouter" | "clock" | "managementKey">;
  readonly #warn: (warning: Warning) => void;
  readonly #looks = new SingleFlight<Sight>();
  readonly #now: () => number;
  #known: { readonly sight: Sight; readonly until: number } | undefined;
  #hasWarned = false;

  /** @param now milliseconds of a monotonic clock */
  constructor(
    context: Pick<Context, "journal" | "openRouter" | "clock" | "managementKey">,
    warn: (warning: Warning) => void,
    now = () => performance.now(),
  ) {
    this.#context = context;
    this.#warn = warn;
    this.#now = now;
  }

  async standing(signal: AbortSignal): Promise<Standing> {
    return this.#standingOf(await this.#sight(signal));
  }

  async standingBy(listed: ReadonlyMap<string, UpstreamKey>, newSignal: () => AbortSignal): Promise<Standing> {
    const sight = await this.#sight(newSignal());
    if (sight.status === "ours" || sight.status === "unbound") return sight.status;
    const own = await this.#ownAmong(listed, newSignal);
    if (own === undefined) return this.#standingOf(sight);
    const bound = await this.#context.journal.account(newSignal());
    const proven = provenBy(own.at, bound, bound === undefined ? own.key : null);
    this.#keep(proven);
    if (bound === undefined) await this.#bindTo(own.key.workspace);
    return this.#standingOf(proven);
  }

  async predates(at: Timestamp, signal: AbortSignal): Promise<boolean> {
    return at <= ((await this.#context.journal.account(signal))?.adoptedAt ?? "");
  }

  async mayBeElsewhere(hash: string, signal: AbortSignal): Promise<boolean> {
    const { journal } = this.#context;
    if (((await journal.account(signal))?.adoptedAt ?? null) === null) return false;
    for (const { userId, n, at } of await journal.outcomesOf([hash], signal)) {
      // Its outcome may have been recorded long after it was created.
      const operation = await journal.entry(userId, "op", n, signal);
      if (!(await this.predates(operation?.at ?? at, signal))) continue;
      if ((await journal.entry(userId, "gone", n, signal)) === undefined) return true;
    }
    return false;
  }

  async created({ workspace }: UpstreamKey): Promise<void> {
    if (this.#known !== undefined) return;
    // At once: the next change need not ask OpenRouter about an account that is known.
    this.#keep(OURS);
    await this.#bindTo(workspace);
  }

  async adopt(signal: AbortSignal): Promise<void> {
    const keys = await this.#keys();
    const budget = deadlineIn(LOOK_MS, signal);
    const organization = await keys.organization(budget);
    const workspaces: string[] = [];
    let detail = organization.status === "unknown" ? organization.detail : "does not say which account that is";
    for await (const page of keys.workspaces(budget)) {
      if (page.status === "unknown") detail = page.detail;
      else workspaces.push(...page.workspaces);
    }
    const binding = bindingOf(organization.status === "known" ? organization.organization : null, workspaces);
    if (binding === undefined) throw notTold(`OpenRouter ${detail}`);
    await this.#context.journal.rebindAccount(
      { ...binding, adoptedAt: await this.#adoptionOf(binding, signal) },
      signal,
    );
    this.#keep(OURS);
  }

  /** Now, unless the store is already bound to that account; a damaged record does not count. */
  async #adoptionOf(binding: AccountBinding, signal: AbortSignal): Promise<Timestamp | null> {
    const { journal, clock } = this.#context;
    try {
      const bound = await journal.account(signal);
      if (bound !== undefined && isSameAccount(bound, binding)) return bound.adoptedAt;
    } catch (thrown) {
      if (!isKeyctlError(thrown) || thrown.code !== "STORE_CORRUPT") throw thrown;
    }
    return clock.now().toISOString();
  }

  #standingOf(sight: Sight): Standing {
    if (sight.status === "other") throw ofAnotherAccount();
    if (sight.status === "unknown" && !this.#hasWarned) {
      this.#hasWarned = true;
      this.#warn({ code: "ACCOUNT_UNKNOWN", message: unknownAccount(sight.detail) });
    }
    return sight.status;
  }

  async #sight(signal: AbortSignal): Promise<Sight> {
    if (this.#known !== undefined && this.#now() < this.#known.until) return this.#known.sight;
    try {
      return await this.#looks.run("", (patience) => this.#lookAndBind(patience), signal);
    } catch (thrown) {
      if (!isTimeout(thrown)) throw thrown;
      throw notTold("timed out before the account of the management key was known");
    }
  }

  async #lookAndBind(signal: AbortSignal): Promise<Sight> {
    const sight = await lookAtAccount(await this.#keys(), this.#context.journal, deadlineIn(LOOK_MS, signal));
    // A cancelled comparison must not be reused by the next caller.
    if (sight.status !== "unbound" && !signal.aborted) this.#keep(sight);
    if (sight.status === "ours" && sight.unboundKey !== null) await this.#bindTo(sight.unboundKey.workspace);
    return sight;
  }

  #keep(sight: Sight): void {
    const isFinal = sight.status === "ours";
    this.#known = { sight, until: isFinal ? Number.POSITIVE_INFINITY : this.#now() + ASK_AGAIN_MS };
  }

  /** The first of two processes wins; the other compares its account before its next change. */
  async #bindTo(workspace: string | null): Promise<void> {
    try {
      const signal = AbortSignal.timeout(BINDING_MS);
      const told = await (await this.#keys()).organization(deadlineIn(BINDING_MS, signal));
      const organization = told.status === "known" ? told.organization : null;
      const binding = bindingOf(organization, workspace === null ? [] : [workspace]);
      if (binding === undefined) return;
      if (!(await this.#context.journal.bindAccount(binding, signal))) this.#known = undefined;
    } catch (thrown) {
      if (!isKeyctlError(thrown) && !isTimeout(thrown)) throw thrown;
    }
  }

  async #ownAmong(
    listed: ReadonlyMap<string, UpstreamKey>,
    newSignal: () => AbortSignal,
  ): Promise<{ readonly key: UpstreamKey; readonly at: Timestamp } | undefined> {
    const hashes = [...listed.keys()];
    let newest: { readonly key: UpstreamKey; readonly at: Timestamp } | undefined;
    for (let start = 0; start < hashes.length; start += MAX_HASHES) {
      const some = hashes.slice(start, start + MAX_HASHES);
      for (const { hash, upstreamHash, at } of await this.#context.journal.outcomesOf(some, newSignal())) {
        const key = listed.get(upstreamHash ?? hash) ?? listed.get(hash);
        if (key !== undefined && at > (newest?.at ?? "")) newest = { key, at };
      }
    }
    return newest;
  }

  async #keys(): Promise<UpstreamKeys> {
    const { openRouter, managementKey } = this.#context;
    const key = managementKey();
    if (key === undefined) throw new Error("the account of no management key was requested");
    return (await openRouter.open()).withManagementKey(key);
  }
}

function bindingOf(organization: string | null, workspaces: readonly string[]): AccountBinding | undefined {
  if (organization === null && workspaces.length === 0) return undefined;
  return { organization, workspaces: workspaces.slice(0, MAX_WORKSPACES), adoptedAt: null };
}

/** True only for certain: accounts that cannot be compared count as different. */
function isSameAccount(one: AccountBinding, other: AccountBinding): boolean {
  if (one.organization !== null && one.organization === other.organization) return true;
  return one.workspaces.some((workspace) => other.workspaces.includes(workspace));
}

function ofAnotherAccount(): KeyctlError {
  return new KeyctlError(
    "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT",
    "the management key belongs to another OpenRouter account than the keys of this database; nothing was changed",
    {
      hint: "set OPENROUTER_PROVISIONING_KEY to a management key of that account; or   keyctl reconcile --adopt-account   binds the database to this one",
    },
  );
}

function notTold(message: string): KeyctlError {
  return new KeyctlError("PROVIDER_UNAVAILABLE", message, { hint: "run the same command again", retryable: true });
}

function unknownAccount(detail: string): string {
  return `it is not known whether the management key belongs to the account of this database: OpenRouter ${detail}; a key that is missing there does not count as deleted`;
}

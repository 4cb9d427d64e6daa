import type { Deadline } from "../async/deadline.ts";
import { isUnknown, newReadingTime, RecentReading } from "./recent-reading.ts";
import type { Age } from "./recent-reading.ts";
import type { AllowList, AttachResult, Unknown, UpstreamKeys } from "../ports/openrouter.ts";

/**
 * The allow-lists of provider keys (BYOK). Such a list is written as a whole, so that one of two concurrent edits is lost.
 * **Invariant:** an edit starts from a list that was read for it, and the edits of one process come one after the other. A list
 * is never emptied and never cleared: either would change what other keys may do.
 */

const NEW: Age = { mostMs: 0, mostMsOfFailure: 0 };
/** OpenRouter's own limit. */
const MAX_KEYS = 100;

/** By the id of the provider key; null: not shown. */
type Lists = ReadonlyMap<string, AllowList> | null;

export class AllowLists {
  readonly #lists = new RecentReading<Lists>(readLists);
  #lastEdit: Promise<unknown> = Promise.resolve();

  /** The ids of the provider keys whose list names this key; null: not shown. */
  async naming(hash: string, keys: UpstreamKeys, age: Age): Promise<readonly string[] | null | Unknown> {
    const lists = await this.#lists.get(keys, age);
    if (lists === null || isUnknown(lists)) return lists;
    return [...lists.values()].flatMap((list) => (list.keys?.includes(hash) === true ? [list.credential] : []));
  }

  /** Null: the list names the key. Otherwise the reason why it cannot. */
  async add(credential: string, hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<string | null> {
    return this.#edit(async () => {
      const present = await this.#now(credential, keys);
      if ("refusal" in present) return present.refusal;
      if (present.keys === null || present.keys.includes(hash)) return null;
      const isFull = present.keys.length >= MAX_KEYS;
      if (!isFull) {
        const answer = await keys.setAllowedKeys(credential, [...present.keys, hash], deadline);
        if (answer.status !== "refused") return attachRefusal(answer);
      }
      const living = await livingAmong(present.keys, keys, deadline);
      if (living.length >= MAX_KEYS) return `it has ${MAX_KEYS} keys, which is OpenRouter's limit`;
      return attachRefusal(await keys.setAllowedKeys(credential, [...living, hash], deadline));
    });
  }

  /** Leaves a list whose only key this is. */
  async take(credential: string, hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<void> {
    await this.#edit(async () => {
      const present = await this.#now(credential, keys);
      if ("refusal" in present || present.keys?.includes(hash) !== true) return;
      const rest = present.keys.filter((other) => other !== hash);
      if (rest.length > 0) await keys.setAllowedKeys(credential, rest, deadline);
    });
  }

  async #edit<Result>(work: () => Promise<Result>): Promise<Result> {
    const edit = this.#lastEdit.then(work, work);
    this.#lastEdit = edit.catch(() => {});
    return edit;
  }

  async #now(credential: string, keys: UpstreamKeys): Promise<AllowList | { readonly refusal: string }> {
    const lists = await this.#lists.get(keys, NEW);
    if (lists === null) return { refusal: "OpenRouter does not show it any more" };
    return isUnknown(lists) ? { refusal: `OpenRouter ${lists.detail}` } : (lists.get(credential) ?? { refusal: GONE });
  }
}

/** Completes a sentence about a guardrail or a list; null if OpenRouter has done it. */
export function attachRefusal(answer: AttachResult): string | null {
  if (answer.status === "done") return null;
  return answer.status === "gone" ? GONE : `OpenRouter ${answer.detail}`;
}

/** OpenRouter refuses a list that names a deleted key, and a deleted key may stay in a list. */
async function livingAmong(
  hashes: readonly string[],
  keys: UpstreamKeys,
  deadline: Deadline,
): Promise<readonly string[]> {
  const living: string[] = [];
  for (const hash of hashes) if ((await keys.find(hash, deadline)).status !== "gone") living.push(hash);
  return living;
}

const GONE = "OpenRouter does not have it any more";

async function readLists(keys: UpstreamKeys): Promise<Lists | Unknown> {
  const workspaces: (string | null)[] = [null];
  for await (const page of keys.workspaces(newReadingTime())) {
    // A management key that may not list workspaces may still read the default one.
    if (page.status === "unknown" && page.httpStatus !== 403 && page.httpStatus !== 404) return page;
    if (page.status === "listed") workspaces.push(...page.workspaces);
  }
  const lists = new Map<string, AllowList>();
  for await (const page of keys.allowLists(workspaces, newReadingTime)) {
    if (page.status === "hidden") return null;
    if (page.status === "unknown") return page;
    for (const list of page.lists) lists.set(list.credential, list);
  }
  return lists;
}

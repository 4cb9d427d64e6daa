import { onTestFinished } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { ManagementKey } from "../../../src/core/model/management-key.ts";
import type { KeyRequest, OpenRouter, RetryPause, UpstreamKeys } from "../../../src/core/ports/openrouter.ts";
import { parseBaseUrl } from "../../../src/openrouter/http/base-url.ts";
import { openRouter } from "../../../src/openrouter/client.ts";
import type { OpenRouterOptions } from "../../../src/openrouter/client.ts";
import type { OpenRouterServer } from "./server.ts";
import { deadlineIn } from "../../../src/core/async/deadline.ts";
import type { Deadline } from "../../../src/core/async/deadline.ts";

/** A client with a clock that advances only by waiting. A wait ends at once. */
export interface TestClient {
  readonly client: OpenRouter;
  readonly upstream: UpstreamKeys;
  /** All waits in order, in milliseconds. */
  readonly waits: readonly number[];
  readonly pauses: readonly RetryPause[];
  readonly budget: (ms?: number, signal?: AbortSignal) => Deadline;
}

interface Differences extends Partial<OpenRouterOptions> {
  /** Called instead of each wait. */
  readonly whileWaiting?: () => Promise<unknown>;
}

export const NOW = "2026-11-24T12:00:00.000Z";
/** Timeouts in milliseconds for a server that does not answer: as short as a busy machine allows. */
export const IMPATIENT = { connect: 500, headers: 500, body: 500, attempt: 500, creation: 500 };

export function clientOf(
  { url, managementKey }: Pick<OpenRouterServer, "url" | "managementKey">,
  differences: Differences = {},
): TestClient {
  const { whileWaiting, ...options } = differences;
  let now = Date.parse(NOW);
  const waits: number[] = [];
  const pauses: RetryPause[] = [];
  const client = openRouter({
    baseUrl: baseUrl(url),
    environment: {},
    clock: { now: () => new Date(now) },
    random: () => 1,
    onWait: (pause) => pauses.push(pause),
    wait: async (milliseconds, signal) => {
      await whileWaiting?.();
      signal.throwIfAborted();
      waits.push(milliseconds);
      now += milliseconds;
    },
    ...options,
  });
  onTestFinished(() => client.close());
  return {
    client,
    upstream: client.withManagementKey(managementKeyOf(managementKey)),
    waits,
    pauses,
    budget: (ms = 60_000, signal = new AbortController().signal) => deadlineIn(ms, signal, () => now),
  };
}

export function keyRequest(differences: Partial<KeyRequest> = {}): KeyRequest {
  const terms = {
    limit: 5,
    limitReset: "monthly",
    expiresAt: null,
    includeByokInLimit: null,
    workspace: null,
  } as const;
  return { name: "keyctl/test", ...terms, ...differences };
}

export function apiKey(text: string): ApiKey {
  return parsed(ApiKey.parse(text));
}

export async function pagesOf<Page>(listing: AsyncIterable<Page>): Promise<readonly Page[]> {
  const pages: Page[] = [];
  for await (const page of listing) pages.push(page);
  return pages;
}

function managementKeyOf(text: string): ManagementKey {
  return parsed(ManagementKey.parse(text));
}

function baseUrl(url: string) {
  const base = parseBaseUrl(url);
  if ("problem" in base) throw new Error(`${url} ${base.problem}`);
  return base;
}

function parsed<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("the test's own text does not parse");
  return value;
}

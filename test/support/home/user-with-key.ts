import { vi } from "vitest";
import type { KeyManager } from "../../../src/core/manager/manager.ts";
import { logLines } from "../../../src/core/model/log-event.ts";
import { hashOf } from "../fixtures/keys.ts";
import { asLibrary } from "../programs/library-in-process.ts";
import type { MockOptions } from "../openrouter/server.ts";
import { stage } from "./tool-with-openrouter.ts";
import type { Stage } from "./tool-with-openrouter.ts";

const MINUTE = 60_000;
/** What OpenRouter answers to a key that it refuses. */
export const REFUSAL = { error: { message: "User not found.", code: 401 } };

export interface Alice extends Stage {
  /** The hash of her key, which is older than a new key. */
  readonly old: string;
  /** What the mock server answers with this key, in place of a model: its refusals are OpenRouter's. */
  readonly ask: (key: string) => Promise<Response>;
  /** The hashes of the keys of all calls. */
  readonly asked: string[];
  readonly log: string[];
  readonly use: <Result>(work: (manager: KeyManager) => Promise<Result>) => Promise<Result>;
}

/** A user whose key keyctl created. Needs a faked Date. */
export async function withAlice(options: MockOptions = {}): Promise<Alice> {
  const all = await stage(options);
  await all.given("provision --user alice --limit 10");
  vi.setSystemTime(Date.now() + 5 * MINUTE);
  const asked: string[] = [];
  const log: string[] = [];
  return {
    ...all,
    old: [...all.server.keys.keys()][0] ?? "none",
    asked,
    log,
    async ask(key) {
      asked.push(hashOf(key));
      const isAccepted = all.server.keys.get(hashOf(key))?.disabled === false;
      return isAccepted ? Response.json({ choices: [] }) : refused();
    },
    use: (work) => asLibrary(all.home, all.env, work, (event) => log.push(...logLines(event))),
  };
}

export async function refused(): Promise<Response> {
  return Response.json(REFUSAL, { status: 401 });
}

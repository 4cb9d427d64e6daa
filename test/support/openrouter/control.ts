import { isRefusal, REFUSAL_NAMES } from "./chat-refusals.ts";
import type { Reply } from "./routes.ts";
import type { MockClock } from "./settings.ts";
import { SETTINGS } from "./settings.ts";
import { error, fieldsOf, ok } from "./shapes.ts";
import type { openRouterState } from "./state.ts";

/*
 * What happens at OpenRouter without keyctl, for tests of other processes and for people: `POST /mock/<name>` with JSON,
 * beside the API and without a credential. Every change of a test in this process has a method of the server.
 */

export const CONTROL_PREFIX = "/mock/";

type State = ReturnType<typeof openRouterState>;

interface Control {
  /** An example of the body. */
  readonly example: string;
  /** Throws a text that says what is wrong. */
  readonly apply: (wanted: Fields, state: State, clock: MockClock) => unknown;
}

type Fields = Readonly<Record<string, unknown>>;

export const CONTROLS: Readonly<Record<string, Control>> = {
  spend: {
    example: '{"hash": "<hash>", "usd": 2}',
    apply({ hash, usd, byok = false }, { records }) {
      if (typeof hash !== "string" || typeof usd !== "number") throw new ControlError("hash and usd are required");
      return { spent: records.spend(hash, usd, byok === true) };
    },
  },
  time: {
    example: '{"advance_s": 86400} or {"now": "2026-12-01T00:00:00Z"}',
    apply({ advance_s: seconds, now }, _state, clock) {
      const time = typeof now === "string" ? Date.parse(now) : Number.NaN;
      if (typeof seconds === "number") clock.advance(seconds * 1000);
      else if (Number.isNaN(time)) throw new ControlError("advance_s or now is required");
      else clock.set(time);
      return { now: new Date(clock.now()).toISOString() };
    },
  },
  guardrail: {
    example: "{}",
    apply: (_wanted, { guardrails }) => ({ id: guardrails.add() }),
  },
  credential: {
    example: '{"allowed_api_key_hashes": ["<hash>"]}',
    apply({ allowed_api_key_hashes: hashes = null, provider = "openai" }, { credentials }) {
      const isList = Array.isArray(hashes) && hashes.every((hash) => typeof hash === "string");
      if (hashes !== null && !isList) throw new ControlError("allowed_api_key_hashes is a list of hashes, or null");
      return { id: credentials.add({ provider: String(provider), allowedKeys: isList ? hashes : null }).id };
    },
  },
  refuse: {
    example: '{"refusal": "provider-key", "times": 1}',
    apply({ refusal, times = 1 }, { chat }) {
      const name = String(refusal);
      if (!isRefusal(name)) throw new ControlError(`unknown refusal: ${REFUSAL_NAMES.join(", ")}`);
      chat.refuseNext(name, Number(times));
      return {};
    },
  },
  settings: {
    example: '{"goneKeysAcceptedMs": 5000}',
    apply(wanted, { configure }) {
      const unknown = Object.keys(wanted).find((name) => !Object.hasOwn(SETTINGS, name));
      if (unknown !== undefined)
        throw new ControlError(`unknown setting ${unknown}: ${Object.keys(SETTINGS).join(", ")}`);
      // The names were checked; a person who gives a wrong value gets what that value does.
      configure(wanted);
      return {};
    },
  },
};

class ControlError extends Error {}

export function controlled(name: string, body: unknown, state: State, clock: MockClock): Reply {
  const control = Object.hasOwn(CONTROLS, name) ? CONTROLS[name] : undefined;
  if (control === undefined) return error(404, `unknown control: ${Object.keys(CONTROLS).join(", ")}`);
  try {
    return ok(control.apply(fieldsOf(body), state, clock));
  } catch (thrown) {
    if (thrown instanceof ControlError) return error(400, thrown.message);
    throw thrown;
  }
}

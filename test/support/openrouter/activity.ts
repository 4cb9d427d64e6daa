import type { KeyRecords } from "./keys.ts";
import { dayOf } from "./meter.ts";
import type { Call, Reply } from "./routes.ts";
import { ok } from "./shapes.ts";

const DAYS = 30;
const DAY_MS = 86_400_000;
const MODEL = "openai/gpt-4.1";
const ENDPOINT = "550e8400-e29b-41d4-a716-446655440000";

interface ActivityOptions {
  readonly now: () => number;
  readonly records: KeyRecords;
}

/** What keys spent on the last 30 completed days by UTC, the newest first. A deleted key has no activity any more. */
export function activityRoute({ now, records }: ActivityOptions): (call: Call) => Reply {
  return ({ query, token }) => {
    const asked = query.get("api_key_hash");
    const day = query.get("date");
    const keys = [...records.keys.values()].filter(
      ({ hash }) => records.ownBy(token, hash) !== undefined && (asked === null || asked === hash),
    );
    const dates = Array.from({ length: DAYS }, (_, index) => dayOf(now() - (index + 1) * DAY_MS));
    const rows = dates
      .filter((date) => day === null || day === date)
      .flatMap((date) =>
        keys.flatMap(({ usage, byokUsage }) => {
          const [usd, byok] = [usage.on(date), byokUsage.on(date)];
          return usd === 0 && byok === 0 ? [] : [rowOf(date, usd, byok)];
        }),
      );
    return ok({ data: rows });
  };
}

function rowOf(date: string, usage: number, byok: number) {
  return {
    date,
    model: MODEL,
    model_permaslug: `${MODEL}-2025-04-14`,
    endpoint_id: ENDPOINT,
    provider_name: "OpenAI",
    usage,
    byok_usage_inference: byok,
    requests: 1,
    prompt_tokens: 50,
    completion_tokens: 125,
    reasoning_tokens: 25,
  };
}

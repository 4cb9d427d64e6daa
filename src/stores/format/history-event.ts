import { isHistoryEventName } from "../../core/model/history-event.ts";
import type { Actor, HistoryEvent } from "../../core/model/history-event.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { countIn, fieldsIn, timestampIn, wordsIn } from "./values.ts";
import type { Fields } from "./values.ts";
import { KEY_HASH } from "../../core/model/key-hash.ts";

/**
 * The format of a record of `api_key_events`; times are text here. A record with a damaged field is shown without that field,
 * and one whose time or event cannot be read is left out: no step of the protocol depends on it.
 */

/** The fields besides `_id`, `user_id` and `at`. */
export function fieldsOfEvent({ event, keyHash, keyTail, generation, actor, reason }: HistoryEvent): Fields {
  const { osUser, host, ci, command } = actor;
  return {
    event,
    key_hash: keyHash,
    key_tail: keyTail,
    generation,
    actor: { os_user: osUser, host, ci, command },
    reason,
  };
}

/** Undefined for a record without a time, or with an event that this version does not know. */
export function eventIn(id: string, userId: UserId, at: unknown, fields: Fields): HistoryEvent | undefined {
  const time = timestampIn(at);
  const event = fields["event"];
  if (time === null || !isHistoryEventName(event)) return undefined;
  return {
    id,
    at: time,
    userId,
    event,
    keyHash: fitting(KEY_HASH, fields["key_hash"]),
    keyTail: fitting(TAIL, fields["key_tail"]),
    generation: countIn(fields["generation"]),
    actor: actorIn(fields["actor"]),
    reason: wordsIn(fields["reason"]),
  };
}

const TAIL = /^[A-Za-z0-9_-]{4}$/;

/** Other programs may write here too: what is no hash or no tail may be a key. */
function fitting(form: RegExp, value: unknown): string | null {
  return typeof value === "string" && form.test(value) ? value : null;
}

function actorIn(value: unknown): Actor {
  const fields = fieldsIn(value);
  return {
    osUser: wordsIn(fields?.["os_user"]),
    host: wordsIn(fields?.["host"]),
    ci: wordsIn(fields?.["ci"]),
    command: wordsIn(fields?.["command"]) ?? "unknown",
  };
}

import { HISTORY_EVENTS } from "../../core/model/history-event.ts";
import type { Actor, HistoryEvent, HistoryEventName } from "../../core/model/history-event.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { countIn, fieldsIn, textIn, timestampIn } from "./values.ts";
import type { Fields } from "./values.ts";

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
  if (time === null || !isEvent(event)) return undefined;
  return {
    id,
    at: time,
    userId,
    event,
    keyHash: textIn(fields["key_hash"]),
    keyTail: textIn(fields["key_tail"]),
    generation: countIn(fields["generation"]),
    actor: actorIn(fields["actor"]),
    reason: textIn(fields["reason"]),
  };
}

function actorIn(value: unknown): Actor {
  const fields = fieldsIn(value);
  return {
    osUser: textIn(fields?.["os_user"]),
    host: textIn(fields?.["host"]),
    ci: textIn(fields?.["ci"]),
    command: textIn(fields?.["command"]) ?? "unknown",
  };
}

const NAMES: ReadonlySet<unknown> = new Set(HISTORY_EVENTS);

function isEvent(value: unknown): value is HistoryEventName {
  return NAMES.has(value);
}

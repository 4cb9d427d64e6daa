import { isFromFuture } from "../../../core/model/clock-skew.ts";
import type { Actor, HistoryEvent } from "../../../core/model/history-event.ts";
import { maskOfTail } from "../../../core/model/mask.ts";
import { formatShortAgo } from "../../format-duration.ts";
import type { Column } from "../../terminal/table.ts";
import { KEY_COLUMN, USER_COLUMN } from "../../views/columns.ts";

export const EVENT_COLUMNS: readonly Column[] = [
  { title: "WHEN", usual: 8 },
  { title: "EVENT", usual: 9 },
  USER_COLUMN,
  { ...KEY_COLUMN, isOptional: true },
  { title: "BY", shrinks: true, usual: 17 },
  { title: "REASON", wraps: true },
];

export function eventDocument({
  at,
  userId,
  event,
  keyHash,
  keyTail,
  generation,
  actor,
  reason,
}: HistoryEvent): object {
  const { osUser, host, ci, command } = actor;
  return {
    at,
    user_id: userId,
    event,
    key_hash: keyHash,
    key: maskOfTail(keyTail),
    generation,
    actor: { os_user: osUser, host, ci, command },
    reason,
  };
}

/** Off a terminal, times are RFC 3339, for programs. */
export function eventCells(
  { at, event, userId, keyTail, actor, reason }: HistoryEvent,
  isTerminal: boolean,
): readonly string[] {
  const now = Date.now();
  const when = isTerminal && !isFromFuture(at, now) ? formatShortAgo(now - Date.parse(at)) : at;
  return [when, event, userId, maskOfTail(keyTail) ?? "-", byWhom(actor), reason ?? "-"];
}

/** `ann@ops1 (rotate)`; in CI, the job is more than the account and the machine. */
function byWhom({ osUser, host, ci, command }: Actor): string {
  const account = [osUser, host].filter((part) => part !== null).join("@");
  return `${ci ?? (account === "" ? "unknown" : account)} (${command})`;
}

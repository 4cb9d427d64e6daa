import { batched } from "../../../core/async/batched.ts";
import { yieldToEventLoop } from "../../../core/async/sleep.ts";
import { isFromFuture } from "../../../core/model/clock-skew.ts";
import { KeyctlError } from "../../../core/model/errors.ts";
import type { Tombstone } from "../../../core/model/tombstone.ts";
import { counted, plural } from "../../../core/text/format.ts";
import { formatShortAgo } from "../../format-duration.ts";
import type { Invocation, Session } from "../../invocation.ts";
import { unlessReaderGone } from "../../terminal/end-of-run.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import { storeLabel } from "../../views/store-label.ts";
import { USER_COLUMN } from "../../views/columns.ts";
import { printCount } from "./count.ts";
import { NOTHING_LISTED } from "./row-view.ts";

/** What `--risk` calls the users who are blocked: they have no key. */
export const BLOCKED_USERS = "blocked";

const BATCH = 100;

/** The blocked users, with the count of them alone if that is wanted. */
export async function listBlocked(invocation: Invocation, countsOnly: boolean): Promise<KeyctlError | null> {
  const { terminal, progress, signal, withManager } = invocation;
  const table = new TablePrinter(terminal, [
    USER_COLUMN,
    { title: "SINCE", usual: 9 },
    { title: "REASON", wraps: true },
  ]);
  let count = 0;
  return unlessReaderGone(async () => {
    await withManager({ mayCreateStore: false, logs: "none" }, async (session) => {
      progress.begin({ what: "list", unit: "users" });
      for await (const batch of batched(session.manager.blockedUsers({ signal }), BATCH)) {
        progress.update((count += batch.length));
        if (terminal.options.json && !countsOnly) await terminal.documents(batch.map(blockedDocument));
        else if (!countsOnly) await table.print(batch.map((one) => cellsOf(one, terminal.columns !== undefined)));
        await yieldToEventLoop();
        signal.throwIfAborted();
      }
      await table.end();
      if (!countsOnly && !terminal.options.json) sayTotal(invocation, session, count);
    });
    if (countsOnly) await printCount(invocation, count, null);
    return null;
  });
}

function sayTotal({ terminal }: Invocation, { store, storeExists }: Session, count: number): void {
  const place = storeLabel(store);
  if (!storeExists) return terminal.footer(`no store exists yet at ${place}`);
  terminal.footer(`${usersBlocked(count)} in ${place}`);
  if (count > 0) terminal.hint("keyctl unblock --user <id>   lets keys be stored for a user again");
}

/** `2 users are blocked`. */
export function usersBlocked(count: number): string {
  return `${counted(count, "user")} ${plural(count, "is", "are")} blocked`;
}

function blockedDocument({ userId, blocked }: Tombstone): object {
  return { ...NOTHING_LISTED, user_id: userId, risks: [BLOCKED_USERS], blocked };
}

/** Off a terminal, times are RFC 3339, for programs. */
function cellsOf({ userId, blocked: { at, reason } }: Tombstone, isTerminal: boolean): readonly string[] {
  const now = Date.now();
  const since = isTerminal && !isFromFuture(at, now) ? formatShortAgo(now - Date.parse(at)) : at;
  return [userId, since, reason ?? "-"];
}

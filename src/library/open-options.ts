import type { Actor } from "../core/model/history-event.ts";
import type { PartlyGiven } from "../core/model/partly-given.ts";
import type { Log } from "../core/model/log-event.ts";
import { BOOLEAN, fields, MILLISECONDS, oneOf, textWithContent } from "./check.ts";
import { ACTOR, REASON } from "./option-tables.ts";

export interface OpenOptions {
  /** `sqlite:<path>` or `mongodb://<host>/<database>`. Default: KEYCTL_STORE, or this user's embedded store. */
  readonly store?: string | undefined;
  /** Whether a named store that is missing is created; else STORE_MISSING. Default false, or KEYCTL_CREATE_STORE. */
  readonly create?: boolean | undefined;
  /** The file to read instead of `./key.txt`. */
  readonly keyFile?: string | undefined;
  /** Whether a key may be created for a user without one. Default true, or KEYCTL_AUTO_PROVISION. */
  readonly autoProvision?: boolean | undefined;
  /**
   * Whether a key in plain text in the database is refused (ROW_UNREADABLE). Default: KEYCTL_REQUIRE_SEALED, else true
   * for an embedded store, and false for MongoDB, where another program may write such keys.
   */
  readonly requireSealed?: boolean | undefined;
  /** The destination of the log lines. Default `silent`. */
  readonly log?: "silent" | "stderr" | Log | undefined;
  /** The time limit of each call, in milliseconds. Default 30000, and 90000 for a call that may create a key. */
  readonly timeoutMs?: number | undefined;
  /** Whom the program works for, for the history: a server may name the person who asked. Default: its own process. */
  readonly actor?: PartlyGiven<Actor> | undefined;
  /** Why something is changed, for the history, in every call without a reason of its own. */
  readonly reason?: string | undefined;
}

/** The options of `KeyManager.open`. The compiler wants an entry for each. */
export const OPEN = fields<OpenOptions>({
  store: textWithContent("sqlite:./keys.db"),
  create: BOOLEAN,
  keyFile: textWithContent("./key.txt"),
  autoProvision: BOOLEAN,
  requireSealed: BOOLEAN,
  log: oneOf<NonNullable<OpenOptions["log"]>>(
    ["silent", "stderr"],
    ["a function", (value) => typeof value === "function"],
  ),
  timeoutMs: MILLISECONDS,
  actor: ACTOR,
  reason: REASON,
});

import { ApiKey } from "../../src/core/model/api-key.ts";
import type { LogEvent } from "../../src/core/model/log-event.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { KEY, maskOf, USER } from "./keys.ts";

const MASK = maskOf(KEY);
const key = ApiKey.parse(KEY) as ApiKey;
const user = parseUserId(USER);

/** Every event, with all that can stand in it, and its lines without the prefix. */
export const LINES: readonly (readonly [event: LogEvent, lines: readonly string[]])[] = [
  [{ kind: "syncing", user }, ["===== Syncing API key for user 68e228e8 ====="]],
  [{ kind: "loaded", from: "database", key }, [`✅ Loaded key from database: ${MASK}`]],
  [{ kind: "loaded", from: "key.txt", key }, [`✅ Loaded key from key.txt: ${MASK}`]],
  [{ kind: "loaded", from: "environment", key }, [`✅ Loaded key from OPENROUTER_API_KEY: ${MASK}`]],
  [{ kind: "malformed", from: "database" }, ["⚠️ Invalid key format in database"]],
  [{ kind: "malformed", from: "key.txt" }, ["⚠️ Invalid key format in key.txt"]],
  [{ kind: "malformed", from: "environment" }, ["⚠️ Invalid key format in OPENROUTER_API_KEY"]],
  [{ kind: "unreadable", reason: "permission denied" }, ["⚠️ Could not read key.txt: permission denied"]],
  [
    { kind: "differs", from: "key.txt" },
    ["⚠️ Key in file differs from database", "💡 Keeping database key (priority)"],
  ],
  [
    { kind: "differs", from: "environment" },
    ["⚠️ Key in environment differs from database", "💡 Keeping database key (priority)"],
  ],
  [{ kind: "saved", origin: "key.txt", key }, [`✅ Saved key to database (source: key.txt): ${MASK}`]],
  [{ kind: "saved", origin: "environment", key }, [`✅ Saved key to database (source: environment): ${MASK}`]],
  [{ kind: "saved", origin: "manual", key }, [`✅ Saved key to database (source: manual): ${MASK}`]],
  [{ kind: "none-found" }, ["⚠️ No API key found in database, file, or environment"]],
  [{ kind: "provisioning" }, ["🔄 Attempting auto-provision..."]],
  [
    { kind: "making", user: parseUserId("68e228e87f803a11a4e23045") },
    ["🔄 Auto-provisioning new key for user 68e228e8..."],
  ],
  [{ kind: "made", key }, [`✅ Auto-provisioned new key: ${MASK}`]],
  [{ kind: "no-management-key" }, ["⚠️ OPENROUTER_PROVISIONING_KEY not set, cannot auto-provision"]],
  [
    { kind: "provision-failed", reason: "OpenRouter answered 503" },
    ["❌ Auto-provision failed: OpenRouter answered 503"],
  ],
  [{ kind: "no-key" }, ["❌ No API key available"]],
  [{ kind: "using", source: "database" }, ["✅ Using key from: database"]],
  [{ kind: "using", source: "key.txt" }, ["✅ Using key from: key.txt"]],
  [{ kind: "using", source: "environment" }, ["✅ Using key from: environment"]],
  [{ kind: "using", source: "auto-provisioned" }, ["✅ Using key from: auto-provisioned"]],
  [{ kind: "synced" }, ["✅ Key synced to database"]],
  [{ kind: "complete" }, ["===== Sync complete ====="]],
  [{ kind: "not-saving" }, ["❌ Invalid key format, not saving"]],
  [{ kind: "validating" }, ["🔍 Validating key with OpenRouter API..."]],
  [{ kind: "validated" }, ["✅ Key validated successfully"]],
  [{ kind: "invalid" }, ["❌ Key is invalid or expired"]],
  [
    { kind: "not-validated", reason: "OpenRouter answered 503" },
    ["⚠️ Could not validate key: OpenRouter answered 503"],
  ],
];

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../src/core/api-key.ts";
import { logLines } from "../../src/core/log.ts";
import type { LogEvent } from "../../src/core/log.ts";
import { parseUserId } from "../../src/core/user-id.ts";

const MASK = "***************b465";
const key = ApiKey.parse(`sk-or-v1-${"0".repeat(60)}b465`) as ApiKey;
const user = parseUserId("68e228e87f803a11a4e23045");

const LINES: readonly (readonly [event: LogEvent, lines: readonly string[]])[] = [
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
  [{ kind: "no-management-key" }, ["⚠️ OPENROUTER_PROVISIONING_KEY not set, cannot auto-provision"]],
  [
    { kind: "provision-failed", reason: "this version cannot make keys" },
    ["❌ Auto-provision failed: this version cannot make keys"],
  ],
  [{ kind: "no-key" }, ["❌ No API key available"]],
  [{ kind: "using", source: "database" }, ["✅ Using key from: database"]],
  [{ kind: "using", source: "key.txt" }, ["✅ Using key from: key.txt"]],
  [{ kind: "using", source: "environment" }, ["✅ Using key from: environment"]],
  [{ kind: "synced" }, ["✅ Key synced to database"]],
  [{ kind: "complete" }, ["===== Sync complete ====="]],
  [{ kind: "not-saving" }, ["❌ Invalid key format, not saving"]],
];

describe("the [KeyManager] lines", () => {
  it.each(LINES)("%j", (event, lines) => {
    expect(logLines(event)).toEqual(lines.map((line) => `[KeyManager] ${line}`));
  });

  it("of the golden transcripts that need no OpenRouter are all among them", () => {
    const known = new Set(LINES.flatMap(([event]) => logLines(event)));
    for (const name of ["from-database", "from-environment", "from-file", "database-over-file", "no-key"]) {
      const transcript = readFileSync(new URL(`../golden/sync-${name}.log`, import.meta.url), "utf8");
      for (const line of transcript.trimEnd().split("\n")) expect(known).toContain(line);
    }
  });

  it("stay one line each, whatever comes from outside", () => {
    const outside = "a\n[KeyManager] ✅ Using key from: nowhere\u001b[2J\u202E";
    const escaped = String.raw`a\u000a[KeyManager] ✅ Using key from: nowhere\u001b[2J\u202e`;
    expect(logLines({ kind: "unreadable", reason: outside })).toEqual([
      `[KeyManager] ⚠️ Could not read key.txt: ${escaped}`,
    ]);
    expect(logLines({ kind: "provision-failed", reason: outside })).toEqual([
      `[KeyManager] ❌ Auto-provision failed: ${escaped}`,
    ]);
    expect(logLines({ kind: "saved", origin: outside, key })).toEqual([
      `[KeyManager] ✅ Saved key to database (source: ${escaped}): ${MASK}`,
    ]);
    expect(logLines({ kind: "syncing", user: parseUserId("\u202Ebob\u200B-the-builder") })).toEqual([
      String.raw`[KeyManager] ===== Syncing API key for user \u202ebob\u200b-th =====`,
    ]);
  });
});

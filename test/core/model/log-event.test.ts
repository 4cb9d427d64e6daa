import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { logLines } from "../../../src/core/model/log-event.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { LINES, RENEWAL_LINES } from "../../support/fixtures/log-lines.ts";

const MASK = "***************b465";
const key = ApiKey.parse(`sk-or-v1-${"0".repeat(60)}b465`) as ApiKey;

describe("the [KeyManager] lines", () => {
  it.each(LINES)("%j", (event, lines) => {
    expect(logLines(event)).toEqual(lines.map((line) => `[KeyManager] ${line}`));
  });

  it.each(RENEWAL_LINES)("of a renewal, %j", (event, line) => {
    expect(logLines(event)).toEqual([line]);
  });

  it("of the golden transcripts that need no OpenRouter are all among them", () => {
    const known = new Set(LINES.flatMap(([event]) => logLines(event)));
    for (const name of ["from-database", "from-environment", "from-file", "database-over-file", "no-key"]) {
      const transcript = readFileSync(new URL(`../../golden/sync-${name}.log`, import.meta.url), "utf8");
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

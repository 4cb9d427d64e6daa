import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import type { Journal } from "../../../src/core/ports/journal.ts";
import { appendEntry } from "../../../src/core/protocol/write-journal.ts";
import { memoryJournal } from "../../support/memory/journal.ts";

const alice = parseUserId("alice");
const { signal } = new AbortController();
const clock = { now: () => new Date("2026-11-24T00:00:00.000Z") };
const abandoned = { kind: "out", n: 1, outcome: "abandoned" } as const;
const failed = new KeyctlError("STORE_UNAVAILABLE", "the database answered with an error", { mayHaveHappened: true });

describe("an entry of the journal whose insert the server calls failed", () => {
  it("is read back and, where it was done, not inserted again", async () => {
    const journal = memoryJournal();
    let inserts = 0;
    const losing: Journal = {
      ...journal,
      async insertEntry(entry) {
        inserts += 1;
        await journal.insertEntry(entry, signal);
        throw failed;
      },
    };
    expect(await appendEntry(alice, abandoned, { journal: losing, clock }, signal)).toMatchObject(abandoned);
    expect(inserts).toBe(1);
  });

  it("fails as the server says it when that goes on, and is no conflict", async () => {
    const journal: Journal = { ...memoryJournal(), insertEntry: () => Promise.reject(failed) };
    await expect(appendEntry(alice, abandoned, { journal, clock }, signal)).rejects.toBe(failed);
  });
});

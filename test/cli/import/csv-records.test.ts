import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { numberedLines } from "../../../src/cli/bulk/users-file.ts";
import { csvRecords } from "../../../src/cli/commands/import/csv-records.ts";
import type { CsvRecord } from "../../../src/cli/commands/import/csv-records.ts";

/** The records of this text, which arrives in pieces of these sizes. */
async function recordsOf(text: string, sizes: readonly number[] = [7]): Promise<readonly CsvRecord[]> {
  const bytes = Buffer.from(text);
  async function* pieces() {
    for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
      const size = sizes[turn % sizes.length] ?? 1;
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }
  const records: CsvRecord[] = [];
  for await (const batch of csvRecords(numberedLines(pieces(), 100_000))) records.push(...batch);
  return records;
}

const fieldsOf = (records: readonly CsvRecord[]) => records.map(({ fields }) => fields);

const field = fc.string({
  unit: fc.constantFrom("a", "ä", "🔑", '"', ",", "\n", " ", "\t", "'", "=", "x".repeat(30)),
  maxLength: 12,
});
/** A record of one blank field is an empty line. */
const record = fc
  .array(field, { minLength: 1, maxLength: 5 })
  .filter((fields) => fields.length > 1 || fields[0]?.trim() !== "");
const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 4 });

/** As RFC 4180 writes it: quotes where they are needed, and anywhere else if that is wanted. */
function written(fields: readonly string[], quotesAll: boolean): string {
  return fields.map((text) => (quotesAll || /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)).join(",");
}

describe("CSV", () => {
  it("is read as it was written, with any line ends and a byte order mark, however it arrives", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { maxLength: 8 }),
        fc.record({ crlf: fc.boolean(), bom: fc.boolean(), ends: fc.boolean(), quotesAll: fc.boolean(), sizes }),
        async (records, { crlf, bom, ends, quotesAll, sizes: pieces }) => {
          const end = crlf ? "\r\n" : "\n";
          const lines = records.map((fields) => written(fields, quotesAll));
          // In a file with CRLF, line ends inside of quotes are such ends as well.
          const text = lines.join("\n").replaceAll("\n", end) + (ends && records.length > 0 ? end : "");
          const read = await recordsOf((bom ? "\uFEFF" : "") + text, pieces);
          expect(fieldsOf(read)).toEqual(records);
        },
      ),
    );
  });

  it("names each record by its first line", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 8 }), async (records) => {
        const texts = records.map((fields) => written(fields, false));
        const firstLines = texts.map(
          (_, at) => 1 + texts.slice(0, at).join("\n").split("\n").length - (at === 0 ? 1 : 0),
        );
        const read = await recordsOf(texts.join("\n"));
        expect(read.map(({ number }) => number)).toEqual(firstLines);
      }),
    );
  });

  it("loses only the lines of a fault: every line without quotes is read, whatever stands around it", async () => {
    const hostile = fc.string({ unit: fc.constantFrom("a", '"', ",", " ", '""', '",'), maxLength: 10 });
    const lines = fc.array(
      fc.oneof(
        fc.constant(undefined),
        hostile.filter((text) => text.split('"').length % 2 === 1),
      ),
    );
    await fc.assert(
      fc.asyncProperty(lines, sizes, async (all, pieces) => {
        const text = all.map((line, at) => line ?? `user-${at},key-${at}`).join("\n");
        const read = fieldsOf(await recordsOf(text, pieces)).map((fields) => fields?.join(","));
        const plain = all.flatMap((line, at) => (line === undefined ? [`user-${at},key-${at}`] : []));
        expect(read.filter((fields) => fields?.startsWith("user-") === true)).toEqual(plain);
      }),
    );
  });

  it("never fails, and gives every line to one record at most, whatever it is", async () => {
    const bytes = fc.string({ unit: fc.constantFrom('"', ",", "\n", "\r", "a", "\0", "\uFEFF"), maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(bytes, sizes, async (text, pieces) => {
        const numbers = (await recordsOf(text, pieces)).map(({ number }) => number);
        expect(numbers).toEqual([...new Set(numbers)].toSorted((one, other) => one - other));
        expect(numbers.length).toBeLessThanOrEqual(text.split("\n").length);
      }),
    );
  });

  it.each([
    ['a,"b\nc,d\ne,f', [[1, "has a quote that is not closed"], 2, 3]],
    ['a,b"c\nd,e', [[1, "has a quote that is not closed"], 2]],
    ['a,b"c"d\nd,e', [[1, "has a quote in the middle of a field"], 2]],
    ['a,"b"c\nd,e', [[1, "has a quote in the middle of a field"], 2]],
    [`a,"${"x\n".repeat(10_000)}\nlast,e`, [[1, "has a quote that is not closed"], 20_000]],
    [`${"x".repeat(20_000)}\nb,c`, [[1, "is longer than 16 KiB"], 2]],
    ["a,b\n\n  \nc,d", [1, 4]],
    ["", []],
  ] as const)("%j", async (text, expected) => {
    const read = (await recordsOf(text, [1000])).map(({ number, fault }) =>
      fault === null ? number : [number, fault],
    );
    if (read.length > 4) expect([read[0], read.length]).toEqual([expected[0], 10_002 - 1]);
    else expect(read).toEqual(expected);
  });

  it("takes time in proportion to its length, also where every line opens a quote", async () => {
    const started = performance.now();
    const read = await recordsOf(`a,"b\n${"c,d\n".repeat(200)}`.repeat(200), [65_536]);
    expect(read.length).toBeGreaterThan(30_000);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

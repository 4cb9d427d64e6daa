import { expect, it } from "vitest";
import { counted, formatNumber, octal, plural } from "../../../src/core/text/format.ts";

it.each([
  [0, "0 keys are"],
  [1, "1 key is"],
  [2, "2 keys are"],
  [999, "999 keys are"],
  [1000, "1,000 keys are"],
  [1_234_567, "1,234,567 keys are"],
])("counts %d", (count, text) => {
  expect(`${counted(count, "key")} ${plural(count, "is", "are")}`).toBe(text);
  expect(counted(count, "key is", "keys are")).toBe(text);
});

it("rounds a number to a whole one", () => {
  expect(formatNumber(1234.5)).toBe("1,235");
});

it.each([
  [0o600, "0600"],
  [0o1777, "1777"],
  [0, "0000"],
])("shows the mode %d as ls would want it", (mode, text) => {
  expect(octal(mode)).toBe(text);
});

import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { ManagementKey } from "../../../src/core/model/management-key.ts";
import { canariesIn, CANARIES } from "../../support/fixtures/leak-canaries.ts";

const TEXT = CANARIES["management key"];

describe("a management key", () => {
  it.each([TEXT, "sk-or-mgmt-0123456789", "any.token~of+this/kind==", ` ${TEXT}\n`])("may be %j", (text) => {
    expect(ManagementKey.parse(text)?.reveal()).toBe(text.trim());
  });

  it.each([
    "",
    "short",
    "two words-and-more",
    "a\r\nx-header: 1-2-3-4",
    "ключ-ключ-ключ",
    `***************2c4d`,
    "x".repeat(513),
  ])("may not be %j, which is none or would end a header", (text) => {
    expect(ManagementKey.parse(text)).toBeUndefined();
  });

  it("shows its mask and nothing else, and is no text", () => {
    const key = ManagementKey.parse(TEXT);
    const shown = [String(key?.toString()), JSON.stringify({ key }), inspect({ key }), key?.masked].join(" ");
    expect(shown).toContain("***************0c4d");
    expect(canariesIn({ shown })).toEqual([]);
    expect(() => "".concat(key as unknown as string)).toThrow(TypeError);
  });
});

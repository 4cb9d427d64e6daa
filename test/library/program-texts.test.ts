import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { PURGE_MANY } from "../../src/library/option-tables.ts";
import { forProgram } from "../../src/library/program-texts.ts";

const COMMAND = "keyctl renew --user alice   replaces it";
const CALL = 'keys.renew("alice")   replaces it';

describe("a result for a program", () => {
  it("has the calls in its error, its warnings and the remedy of its verdict", () => {
    const error = new KeyctlError("KEY_INVALID", "it is dead", { hint: COMMAND, retryable: true });
    const warnings = [{ code: "KEY_EXPIRED", message: COMMAND }];
    const told = forProgram([{ error, warnings, verdict: { status: "unknown", remedy: { hint: COMMAND } } }]);
    expect(told).toMatchObject([
      {
        error: { code: "KEY_INVALID", message: "it is dead", hint: CALL, retryable: true },
        warnings: [{ code: "KEY_EXPIRED", message: CALL }],
        verdict: { status: "unknown", remedy: { hint: CALL } },
      },
    ]);
    expect(error.hint).toBe(COMMAND);
  });

  it("is the same object where nothing is to be told in other words, and keeps what is the program's", () => {
    const result = { userId: "keyctl renew --user x", value: { message: COMMAND }, error: null, warnings: [] };
    expect(forProgram(result)).toBe(result);
  });

  it("is what a listener hears, too", () => {
    const heard: unknown[] = [];
    const options = { onStillOnDisk: (warning: unknown) => heard.push(warning) };
    const passed = PURGE_MANY.pass(options, "options", "purgeMany") as typeof options;
    passed.onStillOnDisk({ code: "STILL_ON_DISK", message: "then: keyctl doctor" });
    expect(heard).toEqual([{ code: "STILL_ON_DISK", message: "then: in a terminal: keyctl doctor" }]);
  });
});

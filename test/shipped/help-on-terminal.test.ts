import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { BIN } from "../support/programs/keyctl.ts";
import { programOnTerminal } from "../support/programs/pseudo-terminal.ts";

describe("help on a terminal", () => {
  it.each([
    [80, "--help"],
    [60, "--help"],
    [80, "help rotate"],
    [60, "help rotate"],
    [60, "help validate"],
    [60, "help reconcile"],
  ])("of %i columns fits, in groups: keyctl %s", async (columns, words) => {
    const script = `stty cols ${columns}; exec "$0" "$1" ${words}`;
    const { code, screen } = await programOnTerminal(emptyHome(), ["sh", "-c", script, process.execPath, BIN], [], {});
    const [text = "", examples] = screen.split(/\r?\nExamples:\r?\n/);
    expect({ code, hasExamples: examples !== undefined }).toEqual({ code: 0, hasExamples: true });
    const lines = text.split(/\r?\n/);
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
    expect(lines.filter((line) => /^\S[\w ]*:$/.test(line)).length).toBeGreaterThan(1);
  });

  it("answers keyctl alone with the help, and a person's words with a command line", async () => {
    const alone = await programOnTerminal(emptyHome(), [process.execPath, BIN], [], {});
    expect(alone.code).toBe(2);
    expect(alone.screen).toMatch(/^Usage: keyctl [\s\S]*Everyday:[\s\S]*error: no command given\r?\nhint: keyctl /);
    const shown = await programOnTerminal(emptyHome(), [process.execPath, BIN, "show", "o'brien", "--reveal"], [], {});
    expect(shown.code).toBe(2);
    expect(shown.screen).toContain(`hint: keyctl get --user 'o'\\''brien' --reveal`);
  });
});

import { describe, expect, it, onTestFinished } from "vitest";
import { startProgress } from "../../../src/cli/bulk/progress.ts";
import type { Progress } from "../../../src/cli/bulk/progress.ts";
import { Terminal } from "../../../src/cli/terminal/terminal.ts";
import { sleep } from "../../../src/core/async/sleep.ts";
import { formatRemaining } from "../../../src/cli/format-duration.ts";

const ERASE = "\r\u001B[2K";
const SOON = { first: 0, onTerminal: 5, elsewhere: 5 };

interface Shown {
  readonly progress: Progress;
  readonly terminal: Terminal;
  /** What stderr and, on a terminal, stdout have received. */
  readonly screen: () => string;
  /** What the last line of the terminal shows now. */
  readonly line: () => string;
}

function shown(columns: number | undefined, { times = SOON, quiet = false, what = "sync" } = {}): Shown {
  let text = "";
  const stream = {
    write: async (more: string) => void (text += more),
    columns,
    isOpen: true,
    isBlocked: false,
    drained: async () => {},
  };
  const terminal = new Terminal({ stdout: stream, stderr: stream }, (each) => each, {
    signal: new AbortController().signal,
    json: false,
    quiet,
    debug: false,
    isInteractive: false,
    animates: columns !== undefined && !quiet,
  });
  const progress = startProgress(terminal, what, times);
  onTestFinished(() => progress.stop());
  return {
    progress,
    terminal,
    screen: () => text,
    line: () => text.replaceAll(ERASE, "\n").split("\n").at(-1) ?? "",
  };
}

async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000 && !isSo(); tries += 1) await sleep(5);
  expect(isSo()).toBe(true);
}

describe("progress on a terminal", () => {
  it("says how many of how many, how fast, and how long it will take", async () => {
    const { progress, line } = shown(80);
    progress.begin({ what: "sync", total: async () => 5000 });
    progress.update(1200);
    await until(() => /^sync: 1,200 of 5,000 users, [\d,]+\/s, \d+s left$/.test(line()));
  });

  it("shows that it lives before anything is done, and where the total is not known", async () => {
    const { progress, line } = shown(80);
    progress.begin({ what: "reconcile: listing at OpenRouter", unit: "keys" });
    await until(() => /^reconcile: listing at OpenRouter: \d+s$/.test(line()));
    progress.update(40);
    await until(() => /^reconcile: listing at OpenRouter: 40 keys, [\d,.]+\/(s|min)$/.test(line()));
  });

  it("does without a total that cannot be found out", async () => {
    const { progress, line } = shown(80);
    progress.begin({ what: "sync", total: () => Promise.reject(new Error("no store")) });
    progress.update(7);
    await until(() => /^sync: 7 users, \S+$/.test(line()));
  });

  it("never says more of a total than there was, nor that nothing is left while something is", async () => {
    const { progress, line } = shown(80);
    progress.begin({ what: "sync", total: 10 });
    progress.update(12);
    await until(() => line().startsWith("sync: 12 of 12 users, "));
    progress.begin({ what: "sync", total: 1000 });
    progress.update(999);
    await until(() => line().startsWith("sync: 999 of 1,000 users, "));
    expect(line()).toMatch(/ [1-9]\d*s left$/);
  });

  it("is as fast as what is counted now, where that is counted again", async () => {
    const { progress, line } = shown(80);
    progress.begin({ what: "reconcile: listing at OpenRouter", unit: "keys" });
    progress.update(5000);
    await sleep(300);
    progress.update(0, 5000);
    progress.update(4000, 5000);
    await until(() => line().includes("4,000 of 5,000 keys"));
    expect(line()).toMatch(/, 1s left$/);
  });

  it("is not seen in a run that ends within a second", async () => {
    const { progress, screen } = shown(80, { times: { first: 1_000, onTerminal: 1, elsewhere: 1 } });
    progress.update(5);
    await sleep(30);
    progress.stop();
    expect(screen()).toBe("");
  });

  it("stays below results and notes, and is gone in the end", async () => {
    const { progress, terminal, screen, line } = shown(80);
    progress.begin({ what: "get", total: 10 });
    await until(() => line().startsWith("get: 0 of 10 users"));
    await terminal.result("alice  ***");
    terminal.note("a note");
    expect(screen().replaceAll(ERASE, "<erase>")).toMatch(
      /<erase>alice {2}\*{3}\nget: 0 of 10 users, \d+s<erase>note: a note\nget: 0 of 10/,
    );
    progress.stop();
    expect(line()).toBe("");
    expect(screen().endsWith(ERASE)).toBe(true);
    terminal.note("after");
    expect(screen().endsWith(`${ERASE}note: after\n`)).toBe(true);
  });

  it("fits on one line, so that it can be erased", async () => {
    const { line } = shown(20, { what: "a very long word for what is being done" });
    await until(() => line() !== "");
    expect(line()).toBe("a very long word for what is".slice(0, 19));
  });

  it("makes way for a question", async () => {
    const { terminal, line, screen } = shown(80);
    await until(() => line() !== "");
    const release = terminal.holdStatus();
    const before = screen();
    expect(line()).toBe("");
    await sleep(50);
    expect(screen()).toBe(before);
    release();
    await until(() => line() !== "");
  });

  it("is not shown with --quiet", async () => {
    const { screen } = shown(80, { quiet: true });
    await sleep(50);
    expect(screen()).toBe("");
  });
});

describe("progress elsewhere", () => {
  it("is a whole line now and then", async () => {
    const { progress, screen } = shown(undefined);
    progress.begin({ what: "validate", total: 300 });
    progress.update(100);
    await until(() => /^(note: validate: \S.*\n)+$/.test(screen()) && screen().includes("100 of 300 users, "));
    expect(screen()).not.toContain("\u001B");
  });

  it("comes every 30 s", async () => {
    const { screen } = shown(undefined, { times: { first: 0, onTerminal: 1, elsewhere: 30_000 } });
    await sleep(30);
    expect(screen()).toBe("");
  });
});

it.each([
  [0, "1s"],
  [1, "1s"],
  [59_000, "59s"],
  [59_001, "1m 0s"],
  [125_000, "2m 5s"],
  [3 * 3_600_000 + 61_000, "3h 1m"],
])("the time left after %d ms is %s", (milliseconds, text) => {
  expect(formatRemaining(milliseconds)).toBe(text);
});

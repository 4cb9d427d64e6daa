import type { ExternalSource } from "../../../core/model/log-event.ts";
import { printable } from "../../../core/text/printable.ts";
import type { Explanation, Forecast, Step, StepState } from "../../../core/model/results.ts";
import { userFlag } from "../../../core/text/shell-quote.ts";
import { sayShadowed, sayWarnings } from "../../views/key-view.ts";
import type { Paint } from "../../terminal/paint.ts";
import type { Invocation, Session } from "../../invocation.ts";
import { storeLabel } from "../../views/store-label.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import { wrapped } from "../../terminal/word-wrap.ts";
import type { WarningCode } from "../../../core/model/warning.ts";

const SIGNS: Readonly<Record<StepState, { readonly sign: string; readonly colour: keyof Paint }>> = {
  used: { sign: "✓", colour: "green" },
  shadowed: { sign: "!", colour: "yellow" },
  ignored: { sign: "!", colour: "yellow" },
  unavailable: { sign: "✗", colour: "red" },
  blocked: { sign: "✗", colour: "red" },
  absent: { sign: "·", colour: "dim" },
  not_needed: { sign: "·", colour: "dim" },
};
const IN_THE_STEPS: readonly string[] = [
  "KEY_FILE_IGNORED",
  "ENVIRONMENT_KEY_IGNORED",
] satisfies readonly WarningCode[];
const CALLED: Readonly<Record<ExternalSource, string>> = { "key.txt": "key.txt", environment: "OPENROUTER_API_KEY" };

/** Prints the steps, the result that sync would have, and how to change it. */
export async function showExplanation(
  invocation: Invocation,
  explanation: Explanation,
  details: readonly (string | null)[],
  place: Pick<Session, "store">,
): Promise<void> {
  const { terminal } = invocation;
  const { userId, winner, steps, sync, warnings } = explanation;
  const { columns } = terminal;
  const lines = steps.flatMap((step, index) => {
    const detail = printable(details[index] ?? "");
    return columns === undefined ? [plainLine(step, detail)] : stepLines(step, detail, columns, terminal.paint);
  });
  await terminal.result(lines.join("\n"));
  await saySentence(terminal, sync);
  terminal.footer(`store: ${storeLabel(place.store)}`);
  sayWarnings(
    terminal,
    warnings.filter(({ code }) => !IN_THE_STEPS.includes(code)),
  );
  if (winner === null) return;
  if (sync.kind === "saves") terminal.hint(`keyctl sync ${userFlag(userId)}`);
  const losers = steps.filter(isShadowed);
  sayShadowed(invocation, {
    userId,
    shadowed: losers.map(({ source }) => source),
    shadowedTails: losers.map(({ key }) => key.slice(-4)),
  });
}

/** Without a terminal, only rows are printed as results, and the error reports that sync would fail. */
async function saySentence(terminal: Terminal, sync: Forecast): Promise<void> {
  if (terminal.columns !== undefined) {
    await terminal.result(`\n${wrapped(sentence(sync), terminal.columns).join("\n")}`);
  } else if (sync.kind !== "fails") terminal.footer(sentence(sync));
}

function isShadowed(step: Step): step is Step & { readonly source: ExternalSource; readonly key: string } {
  return step.state === "shadowed" && step.key !== null && (step.source === "key.txt" || step.source === "environment");
}

function sentence(sync: Forecast): string {
  switch (sync.kind) {
    case "keeps":
      return "sync would keep the database key";
    case "makes":
      return "sync would create a new key, which costs money";
    case "saves":
      return `sync would save the key from ${CALLED[sync.from]}`;
    case "fails":
      return `sync would fail: ${printable(sync.error.message)}`;
  }
}

function plainLine({ source, state, key }: Step, detail: string): string {
  return [source, wordsOf(state), key ?? "-", detail].join("\t");
}

const SOURCE_WIDTH = 16;
const STATE_WIDTH = 11;
const KEY_WIDTH = 19;
const INDENT = 4;

/** One line; the detail goes below if it does not fit beside. */
function stepLines({ source, state, key }: Step, detail: string, columns: number, paint: Paint): readonly string[] {
  const { sign, colour } = SIGNS[state];
  const start = `${paint[colour](sign)} ${source.padEnd(SOURCE_WIDTH)}  ${wordsOf(state).padEnd(STATE_WIDTH)}`;
  const startWidth = 2 + SOURCE_WIDTH + 2 + STATE_WIDTH;
  const beside = `  ${(key ?? "-").padEnd(KEY_WIDTH)}`;
  const left = columns - startWidth - beside.length - 2;
  if (left >= detail.length) return [`${start}${beside}  ${detail}`.trimEnd()];
  const below = detail === "" ? [] : wrapped(detail, columns - INDENT).map((line) => " ".repeat(INDENT) + line);
  if (left >= 0) return [`${start}${beside}`.trimEnd(), ...below];
  return [start.trimEnd(), ...(key === null ? [] : [" ".repeat(INDENT) + key]), ...below];
}

function wordsOf(state: StepState): string {
  return state.replace("_", " ");
}

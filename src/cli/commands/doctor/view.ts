import { counted } from "../../../core/text/format.ts";
import type { CheckId, CheckFinding } from "../../../core/doctor/diagnose.ts";
import { printable } from "../../../core/text/printable.ts";
import type { Paint } from "../../terminal/paint.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import { wrapped } from "../../terminal/word-wrap.ts";

interface Diagnosis {
  readonly version: string;
  readonly findings: readonly CheckFinding[];
  readonly counts: { readonly passed: number; readonly attention: number; readonly failed: number };
}

const SIGNS: Readonly<Record<CheckFinding["status"], { readonly sign: string; readonly colour: keyof Paint }>> = {
  pass: { sign: "✓", colour: "green" },
  attention: { sign: "!", colour: "yellow" },
  fail: { sign: "✗", colour: "red" },
};
const TITLES: Readonly<Record<CheckId, string>> = {
  configuration: "configuration",
  store: "store",
  server: "server",
  encryption: "encryption",
  blocked: "blocked users",
  master_keys: "master keys",
  management_key: "management key",
  openrouter: "OpenRouter",
  spool: "spool",
  rotations: "rotations",
  key_file: "key.txt",
  environment: "environment",
  path: "PATH",
};
const TITLE_WIDTH = 16;
const INDENT = 2 + TITLE_WIDTH + 1;
/** The minimum width, in columns, of text beside the titles. With less space, the text goes below them. */
const NARROWEST = 24;

export async function showDiagnosis(terminal: Terminal, { version, findings, counts }: Diagnosis): Promise<void> {
  const { columns, paint } = terminal;
  const totals = `${counts.passed} passed, ${counted(counts.attention, "warning")}, ${counts.failed} failed`;
  if (columns === undefined) {
    await terminal.result(findings.map(plainLine).join("\n"));
    terminal.footer(totals);
    return;
  }
  const { node, sqlite } = process.versions;
  const parts = [`keyctl ${version}`, `Node ${node}`, ...(sqlite === undefined ? [] : [`SQLite ${sqlite}`])];
  const headline = [...parts, `${process.platform} ${process.arch}`].join(", ");
  const lines = findings.flatMap((finding) => findingLines(finding, columns, paint));
  const top = wrapped(headline, columns);
  await terminal.result([...top, "", ...lines, "", ...wrapped(totals, columns)].join("\n"));
}

function plainLine(finding: CheckFinding): string {
  const { id, status, message } = finding;
  return [id, status, printable(message), printable(hintOf(finding) ?? "")].join("\t");
}

function findingLines(finding: CheckFinding, columns: number, paint: Paint): readonly string[] {
  const { sign, colour } = SIGNS[finding.status];
  const title = `${paint[colour](sign)} ${TITLES[finding.id].padEnd(TITLE_WIDTH)}`;
  const indent = columns - INDENT < NARROWEST ? 4 : INDENT;
  const left = " ".repeat(indent);
  const text = wrapped(printable(finding.message), columns - indent);
  const hint = hintOf(finding);
  // Never wrapped: the user copies this line.
  const below = hint === null ? [] : [left + paint.dim(`hint: ${printable(hint)}`)];
  if (indent < INDENT) return [title.trimEnd(), ...text.map((line) => left + line), ...below];
  const [first = "", ...more] = text;
  return [`${title} ${first}`, ...more.map((line) => left + line), ...below];
}

function hintOf(finding: CheckFinding): string | null {
  return finding.status === "pass" ? null : finding.hint;
}

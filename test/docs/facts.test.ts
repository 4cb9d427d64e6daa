import { readdirSync } from "node:fs";
import type { Dirent } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { EXIT_CODE_MEANINGS, exitCodeOf } from "../../src/cli/exit-codes.ts";
import type { ErrorCode } from "../../src/core/model/errors.ts";
import { LINES } from "../support/fixtures/log-lines.ts";
import { VERBS } from "../support/fixtures/verbs.ts";
import { emptyHome } from "../support/home/home.ts";
import { inProcess } from "../support/programs/in-process.ts";
import { logOf } from "../support/programs/keyctl.ts";
import { sourceFiles } from "../support/programs/source-imports.ts";
import { page, PAGES, tableOf, textOf, USER_PAGES } from "./pages.ts";

/** The pages say nothing that this version does not do: what can be compared with the source is compared. */

/** The members of a union of strings, one a line. */
function unionIn(path: string, name: string): readonly string[] {
  const [, members = ""] = new RegExp(`type ${name} =\\s*(.*?);`, "s").exec(textOf(path)) ?? [];
  return Array.from(members.matchAll(/"(\w+)"/g), ([, member = ""]) => member);
}

function codesIn(cells: readonly string[]): readonly string[] {
  return cells.flatMap((cell) => Array.from(cell.matchAll(/`(\w+)`/g), ([, code = ""]) => code));
}

async function helpOf(...words: readonly string[]): Promise<string> {
  const { code, stdout } = await inProcess(emptyHome(), words, { columns: 1000 });
  expect(code).toBe(0);
  return stdout;
}

describe("the exit codes", () => {
  const EXIT_CODES = page("docs/exit-codes.md");
  const rows = tableOf(EXIT_CODES, "code");
  const all = unionIn("src/core/model/errors.ts", "ErrorCode");

  it("are those of the tool, in its words, in the README and in docs/exit-codes.md", () => {
    expect(rows.map(([code, meaning]) => [code, meaning])).toEqual(EXIT_CODE_MEANINGS);
    expect(tableOf(page("README.md"), "code")).toEqual(EXIT_CODE_MEANINGS);
  });

  it("name every error code beside its exit code", () => {
    expect(all.length).toBeGreaterThan(20);
    const expected = all.map((code) => [String(exitCodeOf({ code: code as ErrorCode })), code]);
    const terminated = [String(exitCodeOf({ code: "INTERRUPTED" }, "SIGTERM")), "INTERRUPTED"];
    const named = rows.flatMap(([exit = "", , codes = ""]) => codesIn([codes]).map((code) => [exit, code]));
    expect(named.map(String).toSorted()).toEqual([...expected, terminated].map(String).toSorted());
  });

  it("have a cause and a remedy for every error code", () => {
    const explained = tableOf(EXIT_CODES, "error code");
    expect(codesIn(explained.map(([code = ""]) => code)).toSorted()).toEqual(all.toSorted());
    expect(explained.filter(([, cause = "", remedy = ""]) => cause.length < 10 || remedy.length < 10)).toEqual([]);
  });

  it("stand in the sections of their exit codes", () => {
    const sections = EXIT_CODES.text.split(/^## /m).filter((section) => section.startsWith("Exit "));
    for (const section of sections) {
      const exit = /^Exit (\d+)/.exec(section)?.[1];
      const codes = tableOf({ ...EXIT_CODES, text: section }, "error code").map(([code = ""]) => codesIn([code])[0]);
      expect(codes.map((code) => [code, String(exitCodeOf({ code: code as ErrorCode }))])).toEqual(
        codes.map((code) => [code, exit]),
      );
    }
  });
});

describe("what documents hold", () => {
  const DOCUMENTS = page("docs/json-and-log-lines.md");
  const VALIDATION = page("docs/validation.md");

  it("are all warnings, each with its meaning", () => {
    const [titles, ...rest] = [tableOf(DOCUMENTS, "code")];
    expect(rest).toEqual([]);
    expect(codesIn((titles ?? []).map(([code = ""]) => code)).toSorted()).toEqual(
      unionIn("src/core/model/warning.ts", "WarningCode").toSorted(),
    );
  });

  it("are all worries about keys that work", () => {
    expect(codesIn(tableOf(VALIDATION, "code").map(([code = ""]) => code))).toEqual(
      unionIn("src/core/model/verdict.ts", "Attention"),
    );
  });

  it("are all reasons of verdicts", () => {
    const reasons = [
      ...unionIn("src/core/model/verdict.ts", "InvalidReason"),
      ...unionIn("src/core/model/unknown-reason.ts", "UnknownReason"),
      "mass_refusal",
    ];
    expect(codesIn(tableOf(VALIDATION, "reason").map(([reason = ""]) => reason)).toSorted()).toEqual(
      reasons.toSorted(),
    );
  });

  it("are all findings of reconcile", () => {
    const named = codesIn(tableOf(page("docs/reconcile.md"), "finding").map(([finding = ""]) => finding));
    const all = textOf("src/core/reconcile/finding.ts").match(/export type FindingClass =.*?;\n/s)?.[0] ?? "";
    const classes = Array.from(all.matchAll(/\| "(\w+)"/g), ([, found = ""]) => found);
    expect(classes.length).toBeGreaterThan(8);
    expect(named.toSorted()).toEqual(classes.toSorted());
  });

  it("are all states of explain's sources", () => {
    const named = codesIn(
      tableOf(page("docs/finding-keys.md"), "state").map(([state = ""]) => state.replace(" ", "_")),
    );
    expect(named.toSorted()).toEqual(unionIn("src/core/model/results.ts", "StepState").toSorted());
  });

  it("are parsed as JSON, where a page shows some", () => {
    const lines = PAGES.flatMap(({ text }) => text.match(/^\{"(?:user_id|type)":.*$/gm) ?? []);
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow();
  });
});

describe("the log lines", () => {
  const [block = ""] = page("docs/json-and-log-lines.md")
    .blocks.map(({ text }) => text)
    .filter((text) => text.startsWith("[KeyManager] "));
  const quoted = block.replaceAll("[KeyManager] ", "").trimEnd().split("\n").map(patternOf);
  const printed = LINES.flatMap(([, lines]) => lines);

  it("are all quoted, and no other", () => {
    expect(printed.filter((line) => !quoted.some((pattern) => pattern.test(line)))).toEqual([]);
    expect(quoted.filter((pattern) => !printed.some((line) => pattern.test(line)))).toEqual([]);
  });

  it.each(["sync-from-file", "sync-from-database"])("of the session are those of golden/%s.log", (name) => {
    const [session = ""] = page("docs/finding-keys.md")
      .blocks.filter(({ language }) => language === "console")
      .map(({ text }) => text);
    expect(logOf(session)).toContain(textOf(`test/golden/${name}.log`));
  });
});

/** A line with `<words>` in place of what differs; `<one|other>` says what there can be. */
function patternOf(line: string): RegExp {
  const parts = line.split(/<([^>]+)>/).map((part, index) => {
    if (index % 2 === 0) return part.replaceAll(/[.()[\]]/g, "\\$&");
    return part.includes("|") ? `(${part})` : ".+";
  });
  return new RegExp(`^${parts.join("")}$`);
}

describe("the variables", () => {
  const CONFIGURATION = page("docs/configuration.md");
  /** What Node and OpenSSL read themselves. */
  const OF_NODE = ["NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "SSL_CERT_FILE"];
  const sources = sourceFiles().map(({ path }) => textOf(path));
  const literals = new Set(
    sources.flatMap((text) => Array.from(text.matchAll(/["`]([A-Z][A-Z0-9_]+)/g), ([, name = ""]) => name)),
  );

  const isRead = (name: string) =>
    literals.has(name) ||
    literals.has(name.replace(/_FILE$/, "")) ||
    (name.startsWith("KEYCTL_PROVISION_") && literals.has(name.slice("KEYCTL_PROVISION_".length)));

  it("are those of the tool, in its words", async () => {
    const help = await helpOf("help", "environment");
    const variables = Array.from(help.matchAll(/^ {2}(\w+(?:, \w+)*) +(.+)$/gm), ([, names = "", meaning]) => [
      names.replaceAll(/\w+/g, "`$&`"),
      meaning,
    ]);
    expect(variables.length).toBeGreaterThan(10);
    expect(tableOf(CONFIGURATION, "variable")).toEqual(variables);
  });

  it("are all that the source reads", () => {
    const read = sources.flatMap((text) => [
      ...Array.from(text.matchAll(/\benv(?:ironment)?\??\.?\["(\w+)"\]/g), ([, name = ""]) => name),
      ...Array.from(text.matchAll(/\(environment, "(\w+)"/g), ([, name = ""]) => name),
      ...Array.from(
        text.matchAll(/"((?:KEYCTL|OPENROUTER|XDG|MONGO|MONGODB)_[A-Z_]+[A-Z])"/g),
        ([, name = ""]) => name,
      ),
    ]);
    expect(read.length).toBeGreaterThan(30);
    const missing = [...new Set(read)].filter((name) => !new RegExp(`\\b${name}\\b`).test(CONFIGURATION.text));
    // Where programs are looked for.
    expect(missing).toEqual(["PATH"]);
  });

  it("are read by the source, wherever a page names one", () => {
    const named = USER_PAGES.flatMap(({ text }) =>
      Array.from(
        text.matchAll(
          /\b(?:(?:KEYCTL|OPENROUTER|XDG|MONGODB|MONGO|NODE|SSL|CREDENTIALS)_[A-Z_]*[A-Z]|[A-Z]+_PROXY)\b/g,
        ),
        ([name]) => name,
      ),
    );
    const unread = [...new Set(named)].filter((name) => !isRead(name) && !OF_NODE.includes(name));
    expect(unread).toEqual([]);
  });
});

describe("the options", () => {
  const texts = USER_PAGES.filter(({ path }) => path !== "docs/commands.md").map(({ text }) => text);
  const prose = texts.join("\n");

  it.each([...VERBS, "help"])("of %s are all explained outside of docs/commands.md", async (verb) => {
    const help = await helpOf(verb === "help" ? "--help" : verb, "--help");
    const [own = ""] = help.split(/^Global Options:$/m);
    const options = Array.from(own.matchAll(/^ {2}(?:(-\w), )?(--[a-z-]+)/gm), ([, , long = ""]) => long);
    const known = ["--help", "--version", "--no-color", "--no-input"];
    const missing = options.filter((option) => !new RegExp(`(?<![\\w-])${option}(?![\\w-])`).test(prose));
    expect(missing.filter((option) => !known.includes(option))).toEqual([]);
  });
});

function entriesIn(folder: string): readonly Dirent[] {
  return readdirSync(fileURLToPath(new URL(`../../${folder}`, import.meta.url)), { withFileTypes: true });
}

describe("what is quoted", () => {
  it("is the Python script that opens a stored value", () => {
    const scripts = page("docs/security.md").blocks.filter(({ language }) => language === "python");
    expect(scripts.map(({ text }) => text)).toEqual([textOf("test/support/fixtures/open-stored-value.py")]);
  });

  it("is the whole of src/, one line each", () => {
    const [tree = ""] = page("CONTRIBUTING.md")
      .blocks.map(({ text }) => text)
      .filter((text) => text.includes("\nsrc/\n"));
    const named = Array.from(tree.matchAll(/^ {2}([a-z]+(?:\.ts|\/)) /gm), ([, name = ""]) => name);
    const there = entriesIn("src/").map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
    expect(named.toSorted()).toEqual(there.toSorted());
    const inCore = Array.from(tree.matchAll(/^ {4}([a-z]+\/) /gm), ([, name = ""]) => name);
    const folders = entriesIn("src/core/").flatMap((entry) => (entry.isDirectory() ? [`${entry.name}/`] : []));
    expect(inCore.toSorted()).toEqual(folders.toSorted());
  });
});

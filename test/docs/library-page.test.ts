import { describe, expect, it } from "vitest";
import type {
  BulkOptions,
  LimitReset,
  NewLimit,
  RekeyOptions,
  Replace,
  Revoke,
  RotateManyOptions,
  RotateOptions,
} from "../../src/index.ts";
import { CALLS } from "../../src/library/calls.ts";
import { OPEN } from "../../src/library/open-options.ts";
import * as tables from "../../src/library/option-tables.ts";
import { page, tableOf } from "./pages.ts";

/** docs/library.md against the tables of the library, which the compiler holds against the declarations. */

const PAGE = page("docs/library.md");
const METHODS = tableOf(PAGE, "method").map(([call = "", options = "", , codes = ""]) => ({
  name: /^`?(\w+)\(/.exec(call)?.[1] ?? call,
  parameters: /\((.*)\)/.exec(call)?.[1]?.split(", ") ?? [],
  options,
  codes,
}));
const IN_EVERY_CALL: ReadonlySet<string> = new Set(["timeoutMs", "signal", "reason"]);

/** As the declarations have them. */
const VALUES = {
  revoke: ["no", "ours", "foreign too"] satisfies Revoke[],
  replace: ["none", "any"] satisfies Replace[],
  foreign: ["refuse", "keep", "revoke"] satisfies RotateOptions["foreign"][],
  reach: ["stored", "known", "sources"] satisfies BulkOptions["reach"][],
  kind: ["new-key", "keep-key", "init", "retire"] satisfies RekeyOptions["kind"][],
  limit: ["keep", "full"] satisfies NewLimit[],
  limitReset: ["daily", "weekly", "monthly"] satisfies LimitReset[],
  verdict: ["invalid"] satisfies RotateManyOptions["verdict"][],
};
/** Their failures are those that every call may have. */
const WITHOUT_CODES = [
  "blockedUsers",
  "close",
  "count",
  "dueDuties",
  "explain",
  "hasManagementKey",
  "history",
  "noteRevealed",
  "provisionTerms",
  "rows",
  "takeWarnings",
  "unblock",
];

const codesIn = (cell: string) =>
  Array.from(
    cell.matchAll(/\b[A-Z]+(?:_[A-Z]+)+\b|\b(?:USAGE|BUG|CONFLICT|ATTENTION|INTERRUPTED)\b/g),
    ([code]) => code,
  );
const EVERY_CODE = tableOf(page("docs/exit-codes.md"), "code").flatMap(([, , codes = ""]) => codesIn(codes));

/** The options of a method, as the page names them; `those of` another method are that one's. */
function told(name: string): readonly string[] {
  const cell = METHODS.find((each) => each.name === name)?.options ?? "";
  const other = /those of `?(\w+)/.exec(cell)?.[1];
  return other === undefined ? Array.from(cell.matchAll(/\w+/g), ([option]) => option).toSorted() : told(other);
}

function optionsOf(name: keyof typeof CALLS): readonly string[] {
  const takes: readonly (readonly unknown[])[] = CALLS[name].takes;
  const options = takes.find(([what]) => what === "the argument with options")?.[1] as
    | { readonly names?: readonly string[] }
    | undefined;
  return options?.names ?? [];
}

describe("docs/library.md", () => {
  it("has every method once, and none that there is not", () => {
    expect(METHODS.map(({ name }) => name).toSorted()).toEqual(Object.keys(CALLS).toSorted());
  });

  it.each(Object.keys(CALLS) as (keyof typeof CALLS)[])("has the options of %s, and its arguments", (name) => {
    const declared = optionsOf(name).filter((option) => !IN_EVERY_CALL.has(option));
    expect(told(name)).toEqual(declared.toSorted());
    const parameters = METHODS.find((each) => each.name === name)?.parameters.filter((each) => each !== "");
    expect(parameters).toHaveLength(CALLS[name].takes.length);
  });

  it("is right that every call but withUserKey takes a time-out, a signal and a reason", () => {
    for (const name of Object.keys(CALLS) as (keyof typeof CALLS)[]) {
      const options = optionsOf(name);
      if (options.length === 0) continue;
      expect([name, [...IN_EVERY_CALL].filter((each) => !options.includes(each))]).toEqual([
        name,
        name === "withUserKey" ? ["reason"] : [],
      ]);
    }
  });

  it("has every option of KeyManager.open", () => {
    expect(tableOf(PAGE, "option").map(([option = ""]) => option.replaceAll("`", ""))).toEqual([...(OPEN.names ?? [])]);
  });

  it("says of every option of a call, once, what it means and what its default is", () => {
    const rows = tableOf(PAGE, "option of a call");
    const named = rows.flatMap(([cell = ""]) => Array.from(cell.matchAll(/`(\w+)`/g), ([, name = ""]) => name));
    const checks: readonly object[] = Object.values(tables).filter((each) => each !== tables.ACTOR);
    const declared = checks.flatMap((each) => ("names" in each ? (each.names as readonly string[]) : []));
    expect(named.toSorted()).toEqual([...new Set(declared)].toSorted());
    expect(rows.filter(([, meaning = "", byDefault = ""]) => meaning === "" || byDefault === "")).toEqual([]);
  });

  it("names the values of every option that takes one of a few texts", () => {
    const rows = tableOf(PAGE, "option of a call").map(([name = "", meaning = ""]) => ({ name, meaning }));
    const meaningOf = (option: string) => rows.find(({ name }) => name.includes(`\`${option}\``))?.meaning ?? "";
    for (const [option, values] of Object.entries(VALUES))
      expect([option, values.filter((value) => !meaningOf(option).includes(`\`"${value}"\``))]).toEqual([option, []]);
  });

  it("names codes for every method that has some of its own, but for those that only read", () => {
    const without = METHODS.filter(({ codes }) => codes.trim() === "").map(({ name }) => name);
    expect(without.toSorted()).toEqual(WITHOUT_CODES.toSorted());
  });

  it("says of every error code whether a retry is worth it, and names no other code", () => {
    const rows = tableOf(PAGE, "code").flatMap(([codes = ""]) => codesIn(codes));
    expect(rows.toSorted()).toEqual([...new Set(EVERY_CODE)].toSorted());
    expect(METHODS.flatMap(({ codes }) => codesIn(codes)).filter((code) => !EVERY_CODE.includes(code))).toEqual([]);
  });
});

import { beforeAll, describe, expect, it } from "vitest";
import type { Command, Option } from "commander";
import { wholeProgram } from "../../src/cli/program.ts";
import { VARIABLES } from "../../src/cli/variable-meanings.ts";
import { emptyHome } from "../support/home/home.ts";
import { inProcess } from "../support/programs/in-process.ts";

interface Form {
  /** The message names what is taken. */
  readonly says: RegExp;
  readonly malformed: readonly string[];
}

const DURATION = {
  says: /takes a duration such as 30s, .*2w or 1y/,
  malformed: ["", "0s", "-1d", "1.5h", "10 days", "5M"],
};
const PAST = {
  says: /takes a duration such as .*, or a date in the past such as \d{4}/,
  malformed: ["", "30", "2999-01-01"],
};
const FUTURE = {
  says: /takes a duration such as .*, or a date in the future such as/,
  malformed: ["", "1e3s", "2001-01-01"],
};
const COUNT = { says: /takes (?:a|the) number of (?:keys|events)/, malformed: ["", "x", "-1", "1.5", "1e3"] };
const USD = { says: /an amount(?: in USD)? such as \d/, malformed: ["", "x", "-1", "5,00", "$5", "1e3"] };
const HASH = {
  says: /takes the 64 hex characters of (?:a|the) SHA-256/,
  malformed: ["", "x", "g".repeat(64), "a".repeat(63)],
};
const SHARE = {
  says: /takes a number of (?:users|keys), or a share of them such as \d%/,
  malformed: ["", "x", "101%", "-1"],
};
const STORE = {
  says: /is not a store that keyctl knows.*sqlite:<path>, or mongodb:/s,
  malformed: ["x", "redis://x"],
};

/** The options whose value has a form; those of one command where their form differs there. */
const FORMS: Readonly<Record<string, Form>> = {
  "--timeout": DURATION,
  "--stop-after": DURATION,
  "--since": PAST,
  "--older-than": PAST,
  "--not-validated-since": PAST,
  "--expires-in": FUTURE,
  "--expires-within": FUTURE,
  "--warn-within": FUTURE,
  "--grace": { says: /takes a duration such as .*, of at most 30d, or 0/, malformed: ["", "31d", "10", "1 hour"] },
  "--max-keys": COUNT,
  "--confirm": COUNT,
  "--expect-at-least": { ...COUNT, malformed: ["", "0", "x", "1.5"] },
  "history --limit": { ...COUNT, malformed: ["", "0", "x"] },
  "provision --limit": USD,
  "rotate --limit": { ...USD, says: /takes keep, full, none or an amount in USD such as/ },
  "--min-remaining": USD,
  "--hash": HASH,
  "--max-failures": SHARE,
  "--allow-unknown": SHARE,
  "--concurrency": { says: /takes a number from 1 to \d+/, malformed: ["", "0", "x", "100000"] },
  "--rate": { says: /takes a number of users a second such as 5\/s/, malformed: ["", "5", "0/s", "5/m"] },
  "--shard": { says: /takes i\/n, with i from 1 to n/, malformed: ["", "1", "0/2", "3/2"] },
  "--limit-reset": { says: /expected daily, weekly, monthly/, malformed: ["", "never"] },
  "--fail-on": {
    says: /takes invalid, unknown and attention, separated by commas, or none/,
    malformed: ["", "x", "none,"],
  },
  "rotate --verdict": { says: /takes invalid/, malformed: ["", "valid"] },
  "list --verdict": { says: /takes one of valid, invalid, never/, malformed: ["", "x"] },
  "--risk": { says: /takes one or more of no-limit, never-expires, .*blocked/, malformed: ["", "x", "no-limit,"] },
  "--workspace": { says: /expected an id as OpenRouter shows it/, malformed: ["", "a b"] },
  "--label": { says: /takes up to \d+ printable characters/, malformed: ["", "a\nb"] },
  "--reason": { says: /takes a few words/, malformed: ["", " "] },
  "--env": { says: /variable/, malformed: ["", "a-b"] },
  "--store": STORE,
  "--to": STORE,
};
/** Any text is taken: names, paths, and ids that are looked up. */
const FREE = [
  "--user",
  "--users-file",
  "--output",
  "--key-file",
  "--from-file",
  "--csv",
  "--jsonl",
  "--source",
  "--retire",
];
/** What the rest of the command line must have for the value to be looked at. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  "--store": ["--user", "alice"],
  "--env": ["--user", "alice", "--", "node"],
};

let program: Command;
beforeAll(async () => {
  program = await wholeProgram("");
});

/** Each option that takes a value, once for every command that has it. */
function options(): readonly {
  readonly words: readonly string[];
  readonly option: Option;
  readonly form: Form | undefined;
}[] {
  const all = program.commands.flatMap((command) =>
    command.options.map((option) => ({ command: command.name(), option })),
  );
  const global = program.options.map((option) => ({ command: "sync", option }));
  return [...global, ...all].flatMap(({ command, option }) => {
    const long = option.long ?? "";
    if (!option.required || FREE.includes(long)) return [];
    return [{ words: [command], option, form: FORMS[`${command} ${long}`] ?? FORMS[long] }];
  });
}

describe("the value of an option", () => {
  it("has a form that is tested here, or is any text", () => {
    expect(
      options().flatMap(({ words, option, form }) => (form === undefined ? [[...words, option.long]] : [])),
    ).toEqual([]);
    expect(options().length).toBeGreaterThan(50);
  });

  it("is refused with what is taken, if it is malformed", async () => {
    for (const { words, option, form } of options()) {
      const long = option.long ?? "";
      for (const value of form?.malformed ?? []) {
        const typed = [...words, `${long}=${value}`, ...(BESIDE[long] ?? [])];
        const { code, stdout, stderr } = await inProcess(emptyHome(), typed);
        expect({ typed, code, stdout }).toEqual({ typed, code: 2, stdout: "" });
        expect({ typed, stderr }).toEqual({ typed, stderr: expect.stringMatching(form?.says ?? /^$/) });
      }
    }
  }, 60_000);

  it("that a hint gives is taken, and does no harm when it is copied", async () => {
    for (const { words, option, form } of options()) {
      const long = option.long ?? "";
      const typed = [...words, `${long}=${form?.malformed[1]}`, ...(BESIDE[long] ?? [])];
      const { stderr } = await inProcess(emptyHome(), typed);
      const hint = /^hint: (--[a-z-]+ (?:"[^"]*"|\S+))(?: {3}.*)?$/m.exec(stderr)?.[1];
      if (hint === undefined) continue;
      const [flag, value = ""] = hint.replaceAll('"', "").split(/ (.*)/s);
      const again = await inProcess(emptyHome(), [...words, `${flag}=${value}`, "--help"]);
      expect({ hint, code: again.code }).toEqual({ hint, code: 0 });
      if (/--(?:expires-in|older-than)/.test(hint)) expect(hint).toMatch(/ 90d$/);
    }
  }, 60_000);

  it("is guessed from another form of a duration", async () => {
    const { stderr } = await inProcess(emptyHome(), ["sync", "--user", "alice", "--timeout", "10 min"]);
    expect(stderr).toContain("\nhint: --timeout 10m\n");
  });
});

describe("a variable with a form", () => {
  it.each([
    ["KEYCTL_PROVISION_EXPIRES_IN", "10 days", /takes a duration such as .*2w or 1y/, "10d"],
    ["KEYCTL_PROVISION_EXPIRES_IN", "P1D", /takes a duration such as/, "1d"],
    ["KEYCTL_PROVISION_EXPIRES_IN", "0", /takes a duration such as/, "90d"],
    ["KEYCTL_PROVISION_EXPIRES_IN", "200y", /of at most 100y/, "90d"],
    ["KEYCTL_ROTATE_GRACE", "5min", /takes a duration such as .*, of at most 30d, or 0/, "5m"],
    ["KEYCTL_ROTATE_GRACE", "2 months", /of at most 30d, or 0/, "10m"],
    ["KEYCTL_PROVISION_LIMIT", "5,00", /takes an amount in USD such as 10 or 2.50, or none/, "10"],
    ["KEYCTL_PROVISION_LIMIT_RESET", "never", /takes daily, weekly or monthly/, "monthly"],
    ["KEYCTL_MAX_PROVISIONS_PER_HOUR", "-1", /takes a number of keys such as 60, or 0/, "60"],
  ])("%s=%s is refused with what it takes", async (name, value, says, example) => {
    const verb = name === "KEYCTL_ROTATE_GRACE" ? "rotate" : "provision";
    const { code, stderr } = await inProcess(emptyHome(), [verb, "--user", "alice"], {
      env: { [name]: value, OPENROUTER_PROVISIONING_KEY: `sk-or-v1-${"a".repeat(64)}` },
    });
    expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringMatching(says) });
    expect(stderr).toContain(`\nhint: ${name}=${example}\n`);
    expect(VARIABLES.map(([listed]) => listed)).toContain(name);
  });
});

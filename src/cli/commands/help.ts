import type { Command } from "commander";
import { KeyctlError } from "../../core/errors.ts";
import { EXIT_CODE_MEANINGS } from "../exit-codes.ts";
import type { Invocation, Run } from "../runner.ts";

const VARIABLES: readonly (readonly [name: string, meaning: string])[] = [
  ["OPENROUTER_API_KEY", "a key to use and save when neither the database nor key.txt has one"],
  ["OPENROUTER_PROVISIONING_KEY", "the management key; OPENROUTER_MANAGEMENT_KEY is its newer name"],
  ["KEYCTL_STORE", "where keys are kept: sqlite:<path>"],
  ["KEYCTL_STORE_FILE", "a file that holds the value of KEYCTL_STORE"],
  ["KEYCTL_KEY_FILE", "the file to read in place of ./key.txt"],
  ["KEYCTL_AUTO_PROVISION", "0: never make a key"],
  ["KEYCTL_MASTER_KEYS", "master keys: a JWK Set, or one base64url key of 32 bytes"],
  ["KEYCTL_MASTER_KEYS_FILE", "a file that holds them"],
  ["KEYCTL_MASTER_KEYS_COMMAND", "a shell command that prints them (KMS, Vault, pass, …)"],
  ["CREDENTIALS_DIRECTORY", "systemd: the credential keyctl-master-keys in it"],
  ["XDG_DATA_HOME", "where keyctl/keyctl.db is made by default"],
  ["XDG_CONFIG_HOME", "where keyctl/master-keys.json is made by default"],
  ["NO_COLOR", "no colour"],
  ["CI", "no questions"],
];

const TOPICS: Readonly<Record<string, () => string>> = {
  "exit-codes": () => `Exit codes, the same with and without --json:\n\n${aligned(EXIT_CODE_MEANINGS)}`,
  environment: () =>
    `Environment variables. Each OPENROUTER_ variable has a _FILE form that names a file with the value.
Master keys are read from the first place that is there, in the order of this list.

${aligned(VARIABLES)}

KEYCTL_STORE and KEYCTL_MASTER_KEYS… that are set but empty are an error (exit 4): in CI, a missing
secret arrives as an empty string. An empty OPENROUTER_ variable counts as not set.`,
};

export function declare(command: Command, run: Run): void {
  command.argument("[topic]", `a command, or ${Object.keys(TOPICS).join(", ")}`);
  command.action((topic: string) => run((invocation) => help(invocation, topic))({}));
}

async function help({ terminal }: Invocation, topic: string): Promise<KeyctlError | null> {
  const text = TOPICS[topic];
  if (text === undefined) {
    throw new KeyctlError("USAGE", `there is no help on this topic`, {
      hint: `keyctl help ${Object.keys(TOPICS).join(" | ")} | <command>`,
    });
  }
  await terminal.result(text());
  return null;
}

function aligned(rows: readonly (readonly [name: string, meaning: string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, meaning]) => `  ${name.padEnd(width)}  ${meaning}`).join("\n");
}

import { describe, expect, it } from "vitest";
import { interruptEverywhere, REPLACEMENT, withKeyFile, withRows, withUsers } from "../support/faults/interruptions.ts";
import type { Scene } from "../support/faults/interruptions.ts";

const KEY = `sk-or-v1-${"0a1b2c3d".repeat(7)}0a1bb465`;
const MASTER_KEY = "Vx3kQ9_tLw7Zp0RmYcE2uHn-8sJfBd5aGi1oXvT4yKM";

const SCENES: readonly (readonly [name: string, scene: Scene, calls: readonly string[]])[] = [
  ["sync", { args: ["sync", "-u", "carol"], setUp: withKeyFile }, ["masterKeys.generate", "store.insert"]],
  ["sync --json", { args: ["sync", "-u", "carol", "--json"], setUp: withKeyFile }, ["store.insert", "store.close"]],
  [
    "sync with a command for the master keys",
    {
      args: ["sync", "-u", "carol", "--json"],
      setUp: withKeyFile,
      env: {
        // Keeps the master key for the check of the rows. Written completely or not at all: the signal kills this
        // command too.
        KEYCTL_MASTER_KEYS_COMMAND: `cd .. && mkdir -p config/keyctl && echo ${MASTER_KEY} >draft &&
          mv draft config/keyctl/master-keys.json && echo ${MASTER_KEY}`,
      },
    },
    ["masterKeys.load", "store.insert"],
  ],
  ["get", { args: ["get", "-u", "alice", "--json"], setUp: withRows }, ["store.find", "masterKeys.load.open"]],
  [
    "get --stored --reveal",
    { args: ["get", "-u", "alice", "--stored", "--reveal"], setUp: withRows },
    ["store.findMany"],
  ],
  ["save", { args: ["save", "-u", "carol", "--stdin", "--json"], input: KEY }, ["store.find", "store.insert"]],
  [
    "save --replace",
    { args: ["save", "-u", "alice", "--stdin", "--replace", "--json"], input: REPLACEMENT, setUp: withRows },
    ["store.find", "store.replace"],
  ],
  ["purge", { args: ["purge", "-u", "alice", "--yes", "--json"], setUp: withRows }, ["store.remove"]],
  ["list", { args: ["list", "--json"], setUp: withRows }, ["store.scan", "store.scan.next"]],
  [
    "bulk sync",
    { args: ["sync", "--users-file", "users", "--json"], setUp: withUsers },
    ["store.insertMany", "masterKeys.generate.seal"],
  ],
  [
    "bulk sync --log",
    { args: ["sync", "--users-file", "users", "--log", "--json"], setUp: withUsers },
    ["store.insert"],
  ],
  [
    "rekey",
    { args: ["rekey", "--json"], setUp: withRows },
    ["masterKeys.addActive", "store.addKeyCheckValue", "store.replace"],
  ],
  ["rekey --init", { args: ["rekey", "--init", "--json"] }, ["masterKeys.generate", "store.insertFirstKeyCheckValue"]],
  [
    "copy",
    { args: ["copy", "--to", "sqlite:copy.db", "--create", "--json"], setUp: withRows },
    ["store.insertMany", "store.addKeyCheckValue", "store.findMany", "store.scan.next"],
  ],
  ["sync --all", { args: ["sync", "--all", "--json"], setUp: withRows }, ["store.count", "store.findMany"]],
];

describe("a signal at every port call", () => {
  it.each(SCENES)(
    "ends %s with its code, whole rows and one word of it",
    { timeout: 120_000 },
    async (_, scene, expected) => {
      const { calls, problems, runs } = await interruptEverywhere(scene, ["SIGINT", "SIGTERM"]);
      expect(calls).toEqual(expect.arrayContaining([...expected, "store.close"]));
      expect(problems).toEqual([]);
      expect(runs).toBe(4 * calls.length);
    },
  );
});

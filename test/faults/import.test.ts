import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { openFile } from "../support/sqlite/sqlite.ts";

const PEAK_MEMORY = fileURLToPath(new URL("../../bench/peak-memory.cjs", import.meta.url));
const USERS = 40_000;
const KILLS = 8;

const keyOf = (index: number) => `sk-or-v1-${index.toString(16).padStart(64, "0")}`;

async function writeKeys(path: string, users: number): Promise<void> {
  const file = createWriteStream(path, { mode: 0o600 });
  file.write("user,key,source\n");
  for (let index = 0; index < users; index += 1) {
    if (!file.write(`user-${index},${keyOf(index)},old\n`)) await once(file, "drain");
  }
  file.end();
  await once(file, "close");
}

async function rowsIn({ database }: Home): Promise<readonly { user_id: string; key_hash: string }[]> {
  const file = await openFile(database);
  try {
    return file.prepare("SELECT user_id, key_hash FROM api_keys").all() as { user_id: string; key_hash: string }[];
  } finally {
    file.close();
  }
}

/** 0 without a database. */
async function countIn(home: Home): Promise<number> {
  return existsSync(home.database) ? (await rowsIn(home)).length : 0;
}

it(`${KILLS} kills and a last run: every user has one key, and it is the one of the file`, async () => {
  const home = emptyHome();
  await writeKeys(join(home.work, "keys.csv"), USERS);
  let before = 0;
  let hits = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const tool = spawn(process.execPath, [BIN, "import", "--csv", "keys.csv", "-q"], {
      cwd: home.work,
      env: home.environment,
      stdio: "ignore",
    });
    const ended = once(tool, "exit");
    // A moment after it has stored something.
    while (tool.exitCode === null && (await countIn(home)) <= before) await sleep(5);
    await sleep(Math.random() * 30);
    tool.kill("SIGKILL");
    const [, signal] = (await ended) as [unknown, unknown];
    const length = await countIn(home);
    expect(length).toBeGreaterThanOrEqual(before);
    if (signal === "SIGKILL" && length > before && length < USERS) hits += 1;
    before = length;
  }
  console.log(`${hits} of ${KILLS} kills hit an import in the middle`);
  expect(hits).toBeGreaterThan(0);
  const run = await keyctl(home, ["import", "--csv", "keys.csv", "--output", "out.jsonl"]);
  expect(run.code).toBe(0);
  const documents = documentsOf({ stdout: readFileSync(join(home.work, "out.jsonl"), "utf8") });
  const { imported, kept, conflicts, failed } = documents.at(-1) as Record<string, number>;
  expect([Number(imported) + Number(kept), kept, conflicts, failed]).toEqual([USERS, before, 0, 0]);
  const rows = await rowsIn(home);
  const hashes = new Map(documents.slice(0, -1).map((document) => [document["user_id"], document["key_hash"]]));
  expect(rows).toHaveLength(USERS);
  expect(rows.filter(({ user_id, key_hash }) => hashes.get(user_id) !== key_hash)).toEqual([]);
});

it("takes the same memory for ten times as many lines", async () => {
  const peaks = [];
  for (const users of [10_000, 100_000]) {
    const home = emptyHome();
    await writeKeys(join(home.work, "keys.csv"), users);
    const report = join(home.folder, "peak");
    const env = { NODE_OPTIONS: `--require ${PEAK_MEMORY}`, PEAK_MEMORY_FILE: report };
    expect((await keyctl(home, ["import", "--csv", "keys.csv"], { env })).code).toBe(0);
    peaks.push(Number(readFileSync(report, "utf8")));
    rmSync(home.database);
  }
  const [small = 0, large = 0] = peaks;
  console.log(`peak memory: ${small.toFixed(0)} MiB for 10,000 lines, ${large.toFixed(0)} MiB for 100,000`);
  expect(large - small).toBeLessThan(40);
});

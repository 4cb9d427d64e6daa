import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import { execa } from "execa";
import { expect, it, onTestFinished } from "vitest";
import { isTombstone } from "../../src/core/model/tombstone.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { KEY, keyEnding } from "../support/fixtures/keys.ts";
import { spooled } from "../support/fixtures/spooled-key.ts";
import type { RacerOrder, RacerReport } from "../support/faults/block-racer.ts";
import { leftovers, reconcileUntilQuiet } from "../support/faults/recovery-checks.ts";
import { stage, withStore } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import { openManager } from "../support/memory/manager.ts";
import { madeKeys, sqliteStage } from "../support/openrouter/made-keys.ts";
import { onlyIn } from "../support/programs/keyctl.ts";

const ROUNDS = 100;
/** What the processes of a race do: five of each. */
const RACERS: readonly Readonly<Record<string, string>>[] = [
  { RACER_COMMAND: "sync" },
  { RACER_COMMAND: "sync", OPENROUTER_API_KEY: KEY },
  { RACER_COMMAND: "sync", KEYCTL_KEY_FILE: "key.txt" },
  { RACER_COMMAND: "get" },
  { RACER_COMMAND: "provision" },
  { RACER_COMMAND: "save", RACER_KEY: keyEnding("91aa") },
  { RACER_COMMAND: "rotate" },
  { RACER_COMMAND: "rotate" },
];
const OF_EACH = 5;
/** The users' keys before the race: none, one by keyctl, one of a person; a key in the spool is alice's. */
const BEFORE = ["nothing", "provisioned", "saved"] as const;
/** Within this time the racers begin, and so does the purge. */
const SPREAD_MS = 60;

it(`${RACERS.length * OF_EACH} processes race one purge with a block, ${ROUNDS} times: none ends with a key after it returned`, async () => {
  const all = await stage();
  all.home.writeKeyFile(keyEnding("47c0"));
  const env = { ...all.env, KEYCTL_MAX_PROVISIONS_PER_HOUR: "0" };
  const keys = await openManager(all.home, env);
  onTestFinished(() => keys.close());
  const racers = await startRacers(all, env);
  const counts = { withKey: 0, blocked: 0, others: new Map<string, number>() };
  const problems: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const user = `user-${round}`;
    const before = BEFORE[round % BEFORE.length];
    if (before === "provisioned") await keys.autoProvisionKey(user);
    if (before === "saved") await keys.saveKeyToDb(user, keyEnding("b465"));
    const reports = racers.map((racer) => racer.order({ user, pauseMs: Math.random() * SPREAD_MS }));
    await new Promise((resolve) => setTimeout(resolve, Math.random() * SPREAD_MS));
    const purge = await keys.block(user, { reason: `round ${round}` });
    const returnedAt = process.hrtime.bigint();
    if (purge.error !== null || !purge.blocked) problems.push(`${user}: the purge ended with ${purge.error?.code}`);
    for (const { hasKey, code, lastAccessAt } of await Promise.all(reports)) {
      if (hasKey && BigInt(lastAccessAt) > returnedAt) problems.push(`${user}: a key was handed out after the purge`);
      if (hasKey) counts.withKey += 1;
      else if (code === "USER_BLOCKED") counts.blocked += 1;
      else counts.others.set(code ?? "none", (counts.others.get(code ?? "none") ?? 0) + 1);
    }
    if (!(await isBlocked(all, user))) problems.push(`${user} is not blocked`);
  }
  await Promise.all(racers.map(({ stop }) => stop()));
  console.log(counts);
  expect(problems).toEqual([]);
  expect(counts.withKey).toBeGreaterThan(ROUNDS);
  expect(counts.blocked).toBeGreaterThan(ROUNDS);

  const left = sqliteStage({ ...all.home, environment: { ...all.home.environment, ...env } }, all.server);
  await reconcileUntilQuiet(left);
  expect(await leftovers(left)).toEqual([]);
  for (let round = 0; round < ROUNDS; round += 10) {
    expect(await keys.unblock(`user-${round}`)).toMatchObject({ unblocked: true, error: null });
    expect(await keys.syncAndGetKey(`user-${round}`)).toMatchObject({ source: "key.txt", error: null });
  }
  expect(await leftovers(left)).toEqual([]);
});

it("a key that waits in a file of this machine is not handed out either, and is deleted", async () => {
  for (let round = 0; round < ROUNDS / 10; round += 1) {
    const all = await stage();
    await spooled(all);
    const keys = await openManager(all.home, all.env);
    const others = await Promise.all(Array.from({ length: 4 }, () => openManager(all.home, all.env)));
    const syncs = others.map((other) => other.syncAndGetKey("alice"));
    const purge = await keys.block("alice", { revoke: "ours" });
    expect(purge).toMatchObject({ blocked: true, error: null });
    await Promise.all(syncs);
    expect(await keys.syncAndGetKey("alice")).toMatchObject({ key: null, error: { code: "USER_BLOCKED" } });
    expect(madeKeys(all.server)).toEqual([]);
    await Promise.all([keys, ...others].map((manager) => manager.close()));
  }
});

interface Racer {
  readonly order: (what: RacerOrder) => Promise<RacerReport>;
  readonly stop: () => Promise<void>;
}

async function startRacers(all: Stage, env: Readonly<Record<string, string>>): Promise<readonly Racer[]> {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-racer-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(join(import.meta.dirname, "../../node_modules"), join(folder, "node_modules"));
  const program = join(folder, "racer.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "../support/faults/block-racer.ts")],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
  });
  const given = RACERS.flatMap((racer) => Array.from({ length: OF_EACH }, () => racer));
  return given.map((racer) => racerOf(all, program, { KEYCTL_KEY_FILE: `${all.home.folder}/none`, ...env, ...racer }));
}

function racerOf({ home }: Stage, program: string, env: Readonly<Record<string, string>>): Racer {
  const { input: _input, ...options } = onlyIn(home, { env, stdin: "pipe" });
  const child = execa(process.execPath, ["--disable-warning=ExperimentalWarning", program], options);
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error("the racer has no pipes");
  const lines = createInterface({ input: stdout });
  const died = child.then(({ stderr }) => {
    throw new Error(`a racer ended: ${String(stderr)}`);
  });
  died.catch(() => {});
  return {
    async order(what) {
      const said = once(lines, "line");
      stdin.write(`${JSON.stringify(what)}\n`);
      const [line] = (await Promise.race([said, died])) as [string];
      return JSON.parse(line) as RacerReport;
    },
    async stop() {
      stdin.end();
      const { exitCode, stderr } = await child;
      expect([exitCode, String(stderr)]).toEqual([0, ""]);
    },
  };
}

function isBlocked({ home }: Stage, user: string): Promise<boolean> {
  return withStore(home, async (store, signal) => isTombstone(await store.find(parseUserId(user), signal)));
}

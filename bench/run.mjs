// npm run bench: measures each figure and its floor alternately in one run, because machines differ and are noisy.
// Prints medians and ratios; asserts nothing. `-- --smoke` runs everything with small numbers, to see that it works.
import { randomBytes } from "node:crypto";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { userId } from "./sealed-rows.mjs";

const smoke = process.argv.includes("--smoke");
const here = dirname(fileURLToPath(import.meta.url));
const bin = join(here, "..", "bin", "keyctl.cjs");
const home = mkdtempSync(join(tmpdir(), "keyctl-bench-"));
// NODE_EXTRA_CA_CERTS is left out: it triples the start of Node 20, and with it the floor.
const env = { PATH: process.env.PATH, HOME: home, KEYCTL_CREATE_STORE: "1" };
const ROTATIONS = { keys: 3_000, latencyMs: 50, users: [1_000, 100_000], rotated: 1_000 };
const KEY = "sk-or-v1-" + "0123456789abcdef".repeat(4);

try {
  writeFileSync(join(home, "key.txt"), KEY, { mode: 0o600 });
  console.log(`Node ${process.versions.node}, ${process.platform} ${process.arch}${smoke ? ", smoke run" : ""}\n`);
  starts(smoke ? 3 : 31);
  const sizes = smoke ? [200, 2_000] : [10_000, 100_000];
  bulk(sizes, smoke ? 1 : 5);
  console.log("\nBulk sync of users of whom some have a key already");
  sharesStored((name) => `sqlite:${join(home, `${name}.db`)}`, smoke ? 2_000 : 20_000, smoke ? 1 : 5);
  lists(smoke ? [200, 2_000] : [10_000, 1_000_000]);
  await validations(smoke ? { keys: 200, latencyMs: 10, rounds: 1 } : { keys: 10_000, latencyMs: 50, rounds: 3 });
  await rotations(smoke ? { keys: 40, latencyMs: 10, users: [40, 400], rotated: 40 } : ROTATIONS);
  await overMongo(
    smoke ? { rounds: 3, users: 500, rows: [200, 500] } : { rounds: 21, users: 20_000, rows: [2_000, 50_000] },
  );
} finally {
  rmSync(home, { recursive: true, force: true });
}

/** Cold starts as ratios to `node -e 0`; each round runs every command once. */
function starts(rounds) {
  keyctl(["sync", "--user", "stored", "--quiet"]);
  let fresh = 0;
  const commands = [
    { name: "node -e 0", args: () => ["-e", "0"] },
    { name: "keyctl --help", target: 1.6, args: () => [bin, "--help"] },
    { name: "keyctl get --stored", target: 1.9, args: () => [bin, "get", "--stored", "--user", "stored", "--quiet"] },
    { name: "keyctl sync, from file", args: () => [bin, "sync", "--user", `fresh-${(fresh += 1)}`] },
  ];
  const times = commands.map(() => []);
  for (let round = 0; round <= rounds; round += 1) {
    commands.forEach(({ args }, index) => {
      const { seconds } = run(args());
      if (round > 0) times[index].push(seconds); // The first round warms the disk's cache.
    });
  }
  const floor = median(times[0]);
  console.log("Cold start, median of", rounds);
  commands.forEach(({ name, target }, index) => {
    const pairs = times[index].map((seconds, round) => seconds / times[0][round]);
    print(
      name,
      `${(median(times[index]) * 1000).toFixed(1)} ms`,
      ratio(median(times[index]) / floor, target),
      `pairwise ${median(pairs).toFixed(2)}`,
    );
  });
}

/** `sync --users-file` compared with a process that only seals the same keys and inserts the same rows in batches. */
function bulk(sizes, rounds) {
  console.log("\nBulk sync from a file of users, median of", rounds);
  const peaks = [];
  for (const size of sizes) {
    const users = join(home, `users-${size}.txt`);
    writeFileSync(users, Array.from({ length: size }, (_, index) => userId(index)).join("\n"));
    const tool = [];
    const bare = [];
    const memory = [];
    for (let round = 0; round < rounds; round += 1) {
      const ours = emptyDatabase(`ours-${size}-${round}`);
      const done = run(withPeak([bin, "sync", "--users-file", users, "--json", "--store", `sqlite:${ours}`]));
      tool.push(done.seconds);
      memory.push(done.peakMiB);
      bare.push(run([join(here, "bare-bulk.mjs"), emptyDatabase(`bare-${size}-${round}`), users, KEY]).seconds);
    }
    peaks.push(median(memory));
    const pairs = tool.map((seconds, round) => seconds / bare[round]);
    print(
      `${size} users`,
      `${Math.round(size / median(tool))} users/s`,
      ratio(median(pairs), 1.5),
      `peak ${median(memory).toFixed(0)} MiB`,
    );
  }
  print("memory, largest to smallest", "", ratio(peaks.at(-1) / peaks[0], 1.2), "");
}

/** `sync --users-file` if none, half or all of the users already have a key, and `get --stored` of all of them. */
function sharesStored(storeNamed, count, rounds) {
  const ids = Array.from({ length: count }, (_, index) => userId(index));
  const usersFile = (name, users) => {
    const path = join(home, `${name}-of-${count}`);
    writeFileSync(path, users.join("\n"));
    return path;
  };
  const all = usersFile("all", ids);
  const stored = [
    { name: "0 % stored", before: undefined },
    {
      name: "50 % stored",
      before: usersFile(
        "half",
        ids.filter((_, index) => index % 2 === 0),
      ),
    },
    { name: "100 % stored", before: all },
    { name: "get --stored of all", before: all, reads: true },
  ];
  const times = stored.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    stored.forEach(({ before, reads }, index) => {
      const store = storeNamed(`share${index}round${round}`);
      // Creates the store, so that no measurement includes its creation.
      keyctl(["sync", "--user", "none", "--key-file", "absent", "--store", store, "--quiet"]);
      if (before !== undefined) run([bin, "sync", "--users-file", before, "--json", "--store", store]);
      const verb = reads ? ["get", "--stored"] : ["sync"];
      times[index].push(run([bin, ...verb, "--users-file", all, "--json", "--store", store]).seconds);
    });
  }
  const beside = (index, other) => median(times[index].map((seconds, round) => seconds / times[other][round]));
  const speed = (index) => `${Math.round(count / median(times[index]))} users/s`;
  print("none of them", speed(0), "", "");
  print("half of them", speed(1), ratio(beside(1, 0)), "of none");
  print("all of them", speed(2), ratio(beside(2, 0)), "of none");
  print("get --stored of all", speed(3), "", "");
  print("all of them, beside get", "", ratio(beside(2, 3), 1.3), "");
}

/** `list --json` of a large store; its memory compared with that of a small store. */
function lists(sizes) {
  console.log("\nlist --json");
  const peaks = sizes.map((size) => {
    const path = emptyDatabase(`list-${size}`);
    run([join(here, "bare-bulk.mjs"), path, String(size), KEY]);
    const { seconds, peakMiB } = run(withPeak([bin, "list", "--json", "--store", `sqlite:${path}`]));
    print(`${size} rows`, `${seconds.toFixed(2)} s`, "", `peak ${peakMiB.toFixed(0)} MiB`);
    rmSync(path);
    return peakMiB;
  });
  print("memory, largest to smallest", "", ratio(peaks.at(-1) / peaks[0], 1.2), "");
}

/** `validate --all` compared with the best time that the latency allows, and `--from-listing` of the same keys. */
async function validations({ keys, latencyMs, rounds }) {
  const concurrency = 50;
  console.log(`\nvalidate --all of ${keys} keys, ${latencyMs} ms away, ${concurrency} at a time, median of`, rounds);
  const server = await startOpenRouter(keys, latencyMs);
  const [url, managementKey] = server.words;
  env.KEYCTL_OPENROUTER_URL = url;
  try {
    const ideal = ((keys / concurrency) * latencyMs) / 1000;
    const asked = measured(["validate", "--all", "--json", "--concurrency", String(concurrency)]);
    print("GET /key for each", `${asked.seconds.toFixed(2)} s`, atLeast(ideal / asked.seconds, 0.95), peak(asked));
    env.OPENROUTER_PROVISIONING_KEY = managementKey;
    const listed = measured(["validate", "--all", "--json", "--from-listing"]);
    print("--from-listing", `${listed.seconds.toFixed(2)} s`, ratio(asked.seconds / listed.seconds), peak(listed));
  } finally {
    delete env.KEYCTL_OPENROUTER_URL;
    delete env.OPENROUTER_PROVISIONING_KEY;
    server.end();
  }

  function measured(args) {
    const runs = Array.from({ length: rounds }, (_, round) => {
      const path = join(home, `validate-${args.length}-${round}.db`);
      const store = `sqlite:${path}`;
      env.KEYCTL_STORE = store;
      run([join(here, "save-many.mjs"), String(keys)]);
      delete env.KEYCTL_STORE;
      const done = run(withPeak([bin, ...args, "--store", store]));
      rmSync(path);
      return done;
    });
    const pick = (name) => median(runs.map((each) => each[name]));
    return { seconds: pick("seconds"), peakMiB: pick("peakMiB") };
  }
}

function peak({ peakMiB }) {
  return `peak ${peakMiB.toFixed(0)} MiB`;
}

function atLeast(value, target) {
  return `× ${value.toFixed(2)} of the ideal (target ≥ ${target}${value < target ? ", MISSED" : ""})`;
}

/**
 * `rotate --all` compared with the best time that the latency allows; and its memory with few and many users, of whom it
 * may rotate equally many.
 */
async function rotations({ keys, latencyMs, users, rotated }) {
  // GET /keys/{hash} of the old key, POST /keys, GET /key with the new one.
  const calls = 3;
  const concurrency = 20;
  console.log(`\nrotate --all of ${keys} keys, ${latencyMs} ms away, ${concurrency} at a time`);
  const flags = ["--all", "--include-foreign", "--json", "--concurrency", String(concurrency)];
  const server = await startOpenRouter(keys, latencyMs);
  [env.KEYCTL_OPENROUTER_URL, env.OPENROUTER_PROVISIONING_KEY] = server.words;
  try {
    env.KEYCTL_STORE = `sqlite:${join(home, "rotate.db")}`;
    run([join(here, "save-many.mjs"), String(keys)]);
    const done = run(withPeak([bin, "rotate", ...flags, "--max-keys", String(keys)]));
    const perSecond = keys / done.seconds;
    const ideal = (concurrency / (calls * latencyMs)) * 1000;
    print("with a grace", `${perSecond.toFixed(0)} keys/s`, atLeast(perSecond / ideal, 0.9), peak(done));
    const peaks = users.map((count) => {
      env.KEYCTL_STORE = `sqlite:${emptyDatabase(`rotate-${count}`)}`;
      run([join(here, "bare-bulk.mjs"), join(home, `rotate-${count}.db`), String(count), KEY]);
      const { seconds, peakMiB } = run(withPeak([bin, "rotate", ...flags, "--max-keys", String(rotated)]), 6);
      print(`${rotated} of ${count} users`, `${seconds.toFixed(2)} s`, "", `peak ${peakMiB.toFixed(0)} MiB`);
      return peakMiB;
    });
    print("memory, largest to smallest", "", ratio(peaks.at(-1) / peaks[0], 1.2), "");
  } finally {
    for (const name of ["KEYCTL_OPENROUTER_URL", "OPENROUTER_PROVISIONING_KEY", "KEYCTL_STORE"]) delete env[name];
    server.end();
  }
}

/** Runs in a separate process: this one blocks while it measures. */
async function startOpenRouter(keys, latencyMs) {
  const outfile = await bundled("openrouter/mock-openrouter.ts");
  const words = [join(here, "openrouter.mjs"), pathToFileURL(outfile).href, String(keys), String(latencyMs)];
  const child = spawn(process.execPath, words, { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(child.stdout, "data");
  return { words: String(line).trim().split(" "), end: () => child.stdin.end() };
}

/**
 * Cold start, bulk sync, shares and list over MongoDB's protocol, on the server that the tests would use. The figures
 * depend on that server: compare them only with the bare driver's.
 */
async function overMongo({ rounds, users, rows }) {
  const { findProgram, startServer, uriOf } = await testSupport("mongodb/server.ts");
  const program = await findProgram(process.env);
  if (program === undefined) return console.log("\nMongoDB: no server is here; npm run build:ferretdb makes one");
  const server = await startServer(program);
  env.KEYCTL_MASTER_KEYS = randomBytes(32).toString("base64url");
  try {
    console.log(`\nOver MongoDB's protocol (${program.kind}), beside the bare driver`);
    mongoStart(uriOf(server.uri, "start"), rounds);
    mongoBulk((name) => uriOf(server.uri, name), users, smoke ? 1 : 3);
    delete env.KEYCTL_STORE;
    sharesStored((name) => uriOf(server.uri, name), smoke ? 500 : 2_000, smoke ? 1 : 5);
    mongoLists((name) => uriOf(server.uri, name), rows);
  } finally {
    await server.remove();
  }
}

function mongoStart(uri, rounds) {
  env.KEYCTL_STORE = uri;
  keyctl(["sync", "--user", "stored", "--quiet"]);
  const ours = [];
  const bare = [];
  for (let round = 0; round <= rounds; round += 1) {
    ours.push(run([bin, "get", "--stored", "--user", "stored", "--quiet"]).seconds);
    bare.push(run([join(here, "bare-mongo-get.cjs"), uri, "stored"]).seconds);
  }
  const pairs = ours.slice(1).map((seconds, round) => seconds / bare[round + 1]);
  print("cold get --stored", `${(median(ours) * 1000).toFixed(1)} ms`, ratio(median(pairs), 1), "");
}

function mongoBulk(uriOf, count, rounds) {
  const users = join(home, "mongo-users.txt");
  writeFileSync(users, Array.from({ length: count }, (_, index) => userId(index)).join("\n"));
  const pairs = [];
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    env.KEYCTL_STORE = uriOf(`ours${round}`);
    times.push(run([bin, "sync", "--users-file", users, "--json"]).seconds);
    const bare = run([join(here, "bare-mongo-bulk.mjs"), uriOf(`bare${round}`), String(count), KEY]).seconds;
    pairs.push(times.at(-1) / bare);
  }
  print(`bulk sync of ${count}`, `${Math.round(count / median(times))} users/s`, ratio(median(pairs), 1.3), "");
}

function mongoLists(uriOf, sizes) {
  const peaks = sizes.map((size) => {
    env.KEYCTL_STORE = uriOf(`list${size}`);
    run([join(here, "bare-mongo-bulk.mjs"), env.KEYCTL_STORE, String(size), KEY]);
    const { seconds, peakMiB } = run(withPeak([bin, "list", "--json"]));
    print(`list of ${size}`, `${seconds.toFixed(2)} s`, "", `peak ${peakMiB.toFixed(0)} MiB`);
    return peakMiB;
  });
  print("memory, largest to smallest", "", ratio(peaks.at(-1) / peaks[0], 1.2), "");
}

/** A file of the tests' support, bundled: Node 20 does not read TypeScript. */
async function testSupport(name) {
  return import(pathToFileURL(await bundled(name)).href);
}

async function bundled(name) {
  const source = join(here, "..", "test", "support", name);
  const outfile = join(home, name.replace(/\.ts$/, ".mjs"));
  const define = { "import.meta.url": JSON.stringify(pathToFileURL(source).href) };
  await build({ entryPoints: [source], outfile, bundle: true, platform: "node", format: "esm", define });
  return outfile;
}

function emptyDatabase(name) {
  const path = join(home, `${name}.db`);
  keyctl(["sync", "--user", "none", "--key-file", "absent", "--store", `sqlite:${path}`, "--quiet"]);
  if (!existsSync(path)) throw new Error("the tool made no database");
  return path;
}

function keyctl(args) {
  run([bin, ...args]);
}

function withPeak(args) {
  return ["--require", join(here, "peak-memory.cjs"), ...args];
}

/**
 * Runs Node to its end. Returns the wall time in seconds and, if peak-memory.cjs is preloaded, the peak memory in MiB.
 */
function run(args, otherStatus = 3) {
  const peakFile = join(home, "peak");
  rmSync(peakFile, { force: true });
  const start = process.hrtime.bigint();
  const { status, signal } = spawnSync(process.execPath, args, {
    cwd: home,
    env: { ...env, PEAK_MEMORY_FILE: peakFile },
    stdio: ["ignore", "ignore", "ignore"],
  });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (signal !== null || (status !== 0 && status !== otherStatus))
    throw new Error(`${args.join(" ")} ended with ${status ?? signal}`);
  return { seconds, peakMiB: existsSync(peakFile) ? Number(readFileSync(peakFile, "utf8")) : Number.NaN };
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function ratio(value, target) {
  if (target === undefined) return `× ${value.toFixed(2)}`;
  return `× ${value.toFixed(2)} (target ≤ ${target}${value > target ? ", MISSED" : ""})`;
}

function print(name, figure, comparison, rest) {
  console.log(`  ${name.padEnd(28)} ${figure.padStart(16)}  ${comparison.padEnd(30)} ${rest}`.trimEnd());
}

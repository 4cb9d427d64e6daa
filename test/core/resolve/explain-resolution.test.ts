import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { ErrorCode } from "../../../src/core/model/errors.ts";
import type { Recorded } from "../../../src/core/ports/journal.ts";
import { newRecord } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import { silent } from "../../../src/core/model/log-event.ts";
import { KeyManager } from "../../../src/core/manager/manager.ts";
import type { KeySource, KeyStore, SourceReading } from "../../../src/core/ports/stores-and-sources.ts";
import type { SyncResult } from "../../../src/core/model/results.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";
import { entryId } from "../../../src/stores/format/journal-entry.ts";
import { keyEnding } from "../../support/fixtures/keys.ts";
import { makingKeys, memoryStore, nobodysLock, noOpenRouter } from "../../support/memory/store.ts";
import type { MemoryStore } from "../../support/memory/store.ts";
import type { ManagerContext } from "../../../src/core/manager/manager-options.ts";

const NOW = "2026-11-22T02:14:07.113Z";
const alice = parseUserId("alice");
const sealer = createSealer(masterKey(Buffer.alloc(32, 1)));
const key = (tail: string) => ApiKey.parse(keyEnding(tail)) as ApiKey;
const KEY = key("b465");
const OTHER = key("91aa");
const MANAGEMENT_KEY = key("3a3a");
const OWED = key("0dd0");

const error = (code: ErrorCode) => new KeyctlError(code, `this is ${code}`);
const record: KeyRecord = newRecord(alice, {
  key: KEY,
  sealed: sealer.seal(KEY, alice),
  origin: "manual",
  now: "2026-11-11T02:14:07.113Z",
});
const row = (change: Partial<KeyRecord> = {}) => memoryStore({ ...record, ...change });
const failing = (code: ErrorCode): MemoryStore => {
  const fail = async () => Promise.reject(error(code));
  return { ...memoryStore(), find: fail, findMany: fail, insertMany: fail };
};

const DATABASES: Readonly<Record<string, () => MemoryStore>> = {
  "no row": () => memoryStore(),
  "a sealed row": () => row(),
  "a sealed row without its hash": () => row({ keyHash: null, keyTail: null }),
  "a row in clear": () => row({ keyEncrypted: KEY.reveal(), keyHash: null, keyTail: null }),
  "a damaged row": () => row({ keyEncrypted: `${record.keyEncrypted.slice(0, -4)}AAAA` }),
  "a row that holds the management key": () =>
    row({ keyEncrypted: sealer.seal(MANAGEMENT_KEY, alice), keyHash: MANAGEMENT_KEY.hash, keyTail: "3a3a" }),
  "a row that holds no key": () => row({ keyEncrypted: "nonsense" }),
  "no connection": () => failing("STORE_UNAVAILABLE"),
  "two rows": () => failing("CONFLICT"),
};

const TO_BE_DELETED = "a key that is to be deleted";
const READINGS: Readonly<Record<string, SourceReading | KeyctlError>> = {
  nothing: { status: "absent" },
  "no file, though one was named": { status: "missing" },
  "the key of the database": { status: "found", key: KEY },
  "another key": { status: "found", key: OTHER },
  "two lines": { status: "malformed", detail: "holds two lines" },
  "the management key": { status: "management-key" },
  "what cannot be read": { status: "unreadable", reason: "permission denied" },
  [TO_BE_DELETED]: { status: "found", key: OWED },
};
/** Nothing that a variable cannot be: missing though it was named, or unreadable. */
const VARIABLES: Readonly<Record<string, SourceReading | KeyctlError>> = {
  ...Object.fromEntries(
    Object.entries(READINGS).filter(
      ([, reading]) => !("status" in reading) || !["missing", "unreadable"].includes(reading.status),
    ),
  ),
  "two values": error("CONFIG_CONFLICT"),
};
const MASTER_KEYS: Readonly<Record<string, KeyctlError | null>> = {
  "its master keys": null,
  "no master keys": error("MASTER_KEY_MISSING"),
  "wrong master keys": error("MASTER_KEY_WRONG"),
  "unusable master keys": error("CONFIG_INVALID"),
};
const MANAGEMENT: Readonly<Record<string, () => boolean>> = {
  "no management key": () => false,
  "a management key": () => true,
  "two management keys": () => {
    throw error("CONFIG_CONFLICT");
  },
  "a management key, and a limit that is empty": () => true,
};
const NO_LIMIT_SAID: Partial<ManagerContext> = {
  provisioning: {
    ...noOpenRouter.provisioning,
    terms() {
      throw error("CONFIG_EMPTY");
    },
  },
};

interface State {
  readonly database: string;
  readonly file: string;
  readonly variable: string;
  readonly masterKeys?: string;
  readonly management?: string;
  readonly autoProvision?: boolean;
}

function source(name: KeySource["name"], reading: SourceReading | KeyctlError | undefined): KeySource {
  return {
    name,
    place: name === "key.txt" ? "/srv/key.txt" : "OPENROUTER_API_KEY",
    async read() {
      if (reading === undefined || reading instanceof KeyctlError) throw reading;
      return { reading, warnings: [] };
    },
  };
}

/** What stands in the journal of a key that was replaced, and is to be deleted at OpenRouter. */
function owing({ hash }: ApiKey): readonly Recorded[] {
  const of = { userId: parseUserId("zoë"), at: NOW, n: 1 };
  return [
    { ...of, kind: "out", outcome: "saved", hash, upstreamHash: null },
    { ...of, kind: "rev", reason: "superseded", revoke: true, block: false },
  ];
}

/** A manager in this state whose store counts what is asked of it beside reading. */
function managerIn(state: State) {
  const { database, file, variable, masterKeys = "its master keys", management = "no management key" } = state;
  const inner = DATABASES[database]?.() ?? memoryStore();
  for (const entry of owing(OWED)) inner.records.set(entryId(entry.userId, entry.kind, entry.n), entry);
  let writes = 0;
  const counted: Pick<KeyStore, "insert" | "insertMany" | "replace" | "remove" | "recordCheck"> = {
    insert: (...args) => ((writes += 1), inner.insert(...args)),
    insertMany: (...args) => ((writes += 1), inner.insertMany(...args)),
    replace: (...args) => ((writes += 1), inner.replace(...args)),
    remove: (...args) => ((writes += 1), inner.remove(...args)),
    recordCheck: (...args) => ((writes += 1), inner.recordCheck(...args)),
  };
  const refuse = () => {
    const problem = MASTER_KEYS[masterKeys] ?? null;
    if (problem !== null) throw problem;
  };
  const manager = new KeyManager({
    lock: nobodysLock,
    store: { ...inner, ...counted },
    journal: inner,
    historyStore: inner,
    async sealer() {
      refuse();
      return sealer;
    },
    async assertCanSeal() {
      refuse();
    },
    sources: [source("key.txt", READINGS[file]), source("environment", VARIABLES[variable])],
    clock: { now: () => new Date(NOW) },
    log: silent,
    ...noOpenRouter,
    ...makingKeys(KEY),
    ...(management.endsWith("empty") ? NO_LIMIT_SAID : {}),
    managementKeyHashes: () => new Set([MANAGEMENT_KEY.hash]),
    hasManagementKey: MANAGEMENT[management] ?? (() => false),
    autoProvision: state.autoProvision ?? true,
    timeoutMs: 30_000,
  });
  return { manager, writes: () => writes };
}

const all: readonly State[] = Object.keys(DATABASES).flatMap((database) =>
  Object.keys(READINGS).flatMap((file) =>
    Object.keys(VARIABLES).flatMap((variable) =>
      // To who wins, wrong master keys are as none.
      ["its master keys", "no master keys", "unusable master keys"].flatMap((masterKeys) =>
        [
          ...Object.keys(MANAGEMENT).map((management) => ({ management, autoProvision: true })),
          // Where no key may be made nobody asks.
          { management: "two management keys", autoProvision: false },
        ].map((making) => ({ database, file, variable, masterKeys, ...making })),
      ),
    ),
  ),
);
/** Which master keys there are makes a difference only to what may be stored, and to what is in nobody's way. */
const STORABLE = ["nothing", "the key of the database", "another key", "two lines", "two values"];
const states = all.filter(
  ({ file, variable, masterKeys }) =>
    masterKeys === "its master keys" || (STORABLE.includes(file) && STORABLE.includes(variable)),
);

const SYNC: Readonly<Record<string, object>> = { database: { kind: "keeps" }, "auto-provisioned": { kind: "makes" } };

const compared = new Map<State, ReturnType<typeof compare>>();

/** What explain and a dry run say, and what sync then does: found out once for each state. */
function both(state: State): ReturnType<typeof compare> {
  const comparison = compared.get(state) ?? compare(state);
  compared.set(state, comparison);
  return comparison;
}

async function compare(state: State) {
  const { manager, writes } = managerIn(state);
  const explanation = await manager.explain("alice");
  const preview = await manager.previewSync("alice");
  expect({ state, writes: writes() }).toEqual({ state, writes: 0 });
  return { explanation, preview, synced: await manager.syncAndGetKey("alice") };
}

const ofAlice = async function* () {
  yield [alice];
};

/** What a run of many users ends with: the result of alice, or what fails for all. */
async function endOfMany(
  results: AsyncIterable<readonly Pick<SyncResult, "source" | "keyHash" | "warnings" | "error">[]>,
) {
  try {
    for await (const [first] of results) {
      if (first === undefined) continue;
      const { source: from, keyHash, warnings, error: failure } = first;
      // The hash of a key that is not there yet is not known.
      return { from, hash: from === "auto-provisioned" ? null : keyHash, warnings, error: failure };
    }
  } catch (thrown) {
    return { thrown };
  }
  throw new Error("there is no result");
}

describe("a dry run", () => {
  it("of one user ends as the sync, in every state, and writes nothing", async () => {
    for (const state of states) {
      const { preview, synced } = await both(state);
      const { source: from, shadowed, warnings, error: failure } = synced;
      expect({ state, ...preview, key: null, keyHash: null, origin: null }).toMatchObject({
        state,
        source: from,
        shadowed,
        warnings,
        error: failure,
        action: from === "auto-provisioned" ? "create" : "none",
      });
      if (from !== "auto-provisioned") expect(preview.keyHash).toBe(synced.keyHash);
    }
  });

  it.each([
    [0, { provision: true, reach: "sources" }],
    [1, { provision: false, reach: "sources" }],
    [2, { provision: true, reach: "known" }],
  ] as const)(
    "of many users ends as the run, and writes nothing, third %i of the states: %o",
    async (third, options) => {
      // Of many users at once, two rows of one are found in another way.
      const differing: object[] = [];
      for (const [index, state] of states.entries()) {
        if (state.database === "two rows" || index % 3 !== third) continue;
        const { manager, writes } = managerIn(state);
        const foretold = await endOfMany(manager.previewSyncMany(ofAlice(), options));
        const written = writes();
        const end = await endOfMany(manager.syncMany(ofAlice(), options));
        const logged = await endOfMany(managerIn(state).manager.syncMany(ofAlice(), { ...options, logged: true }));
        const isSame = isDeepStrictEqual(foretold, end) && isDeepStrictEqual(logged, end) && written === 0;
        if (!isSame) differing.push({ state, foretold, written, end, logged });
      }
      expect(differing).toEqual([]);
    },
  );
});

it("a run of those who have keys does not fail for a source that is ambiguous", async () => {
  const state = { database: "no row", file: "nothing", variable: "two values" };
  for (const logged of [false, true]) {
    const { manager } = managerIn(state);
    const end = await endOfMany(manager.syncMany(ofAlice(), { reach: "known", logged }));
    expect(end).toMatchObject({ error: { code: "NO_KEY" }, warnings: [{ code: "ENVIRONMENT_KEY_IGNORED" }] });
  }
});

describe("an explanation", () => {
  it("agrees with what sync then does, in every state, and writes nothing", async () => {
    expect(states.length).toBeGreaterThan(4000);
    for (const state of states) {
      const { explanation, synced } = await both(state);
      const { winner, sync, steps, warnings } = explanation;
      const used = steps.filter((step) => step.state === "used");
      if (synced.error === null) {
        const { source: from, keyHash, shadowed } = synced;
        const words = SYNC[from] ?? { kind: "saves", from };
        const losers = steps.filter((step) => step.state === "shadowed").map((step) => step.source);
        expect({ state, winner, sync, losers, hash: used[0]?.keyHash, warnings }).toEqual({
          state,
          winner: from,
          sync: words,
          losers: shadowed,
          hash: from === "auto-provisioned" ? null : keyHash,
          warnings: synced.warnings,
        });
      } else {
        expect({ state, sync }).toEqual({ state, sync: { kind: "fails", error: synced.error } });
        expect({ state, error: explanation.error }).toEqual({ state, error: synced.error });
      }
    }
  });

  it("names no source but the winner as used, ends with an error where there is none, and has four steps in the order of sync", async () => {
    for (const state of states) {
      const { winner, steps, error: failure } = await managerIn(state).manager.explain("alice");
      const used = steps.filter((step) => step.state === "used").map((step) => step.source);
      expect({ state, used }).toEqual({ state, used: winner === null ? [] : [winner] });
      if (winner === null) expect({ state, failure }).not.toEqual({ state, failure: null });
      expect(steps.map((step) => step.source)).toEqual(["database", "key.txt", "environment", "auto-provisioned"]);
    }
  });

  const stops = "not used: sync stops at the database";

  it.each<readonly [state: State, winner: string | null, code: string | null, reasons: readonly string[]]>([
    [
      { database: "a sealed row", file: "another key", variable: "the key of the database" },
      "database",
      null,
      ["used", "shadowed", "not_needed: holds the same key", "not_needed"],
    ],
    [
      { database: "a sealed row", file: "two lines", variable: "two values", masterKeys: "no master keys" },
      "database",
      "MASTER_KEY_MISSING",
      ["used", "ignored: holds two lines", "ignored: this is CONFIG_CONFLICT", "not_needed"],
    ],
    [
      {
        database: "a sealed row without its hash",
        file: "another key",
        variable: "nothing",
        masterKeys: "wrong master keys",
      },
      "database",
      "MASTER_KEY_WRONG",
      ["used", "shadowed: cannot be compared without the master keys", "absent", "not_needed"],
    ],
    [
      { database: "no connection", file: "another key", variable: "nothing" },
      null,
      "STORE_UNAVAILABLE",
      [
        "unavailable: this is STORE_UNAVAILABLE",
        `ignored: ${stops}`,
        "absent",
        "absent: not tried: sync stops at the database",
      ],
    ],
    [
      { database: "a row that holds no key", file: "the key of the database", variable: "another key" },
      null,
      "ROW_UNREADABLE",
      [
        "unavailable: what is stored for user alice is not a key",
        `ignored: ${stops}`,
        `ignored: ${stops}`,
        "absent: not tried: sync stops at the database",
      ],
    ],
    [
      { database: "no row", file: "another key", variable: "the key of the database" },
      "key.txt",
      null,
      ["absent", "used", "shadowed", "not_needed"],
    ],
    [
      { database: "no row", file: "what cannot be read", variable: "another key" },
      "environment",
      null,
      ["absent", "ignored: could not be read: permission denied", "used", "not_needed"],
    ],
    [
      { database: "no row", file: "another key", variable: "two values" },
      null,
      "CONFIG_CONFLICT",
      [
        "absent",
        "ignored: not used: sync stops at the environment",
        "unavailable: this is CONFIG_CONFLICT",
        "absent: not tried: sync stops at the environment",
      ],
    ],
    [
      { database: "no row", file: "nothing", variable: "nothing" },
      null,
      "NO_KEY",
      ["absent", "absent", "absent", "absent: OPENROUTER_PROVISIONING_KEY is not set"],
    ],
    [
      { database: "no row", file: "nothing", variable: "nothing", management: "a management key" },
      "auto-provisioned",
      null,
      ["absent", "absent", "absent", "used: a new key would be created"],
    ],
    [
      { database: "no row", file: "nothing", variable: "nothing", autoProvision: false },
      null,
      "NO_KEY",
      ["absent", "absent", "absent", "absent: switched off"],
    ],
    [
      { database: "no row", file: "nothing", variable: "nothing", management: "two management keys" },
      null,
      "CONFIG_CONFLICT",
      ["absent", "absent", "absent", "unavailable: this is CONFIG_CONFLICT"],
    ],
  ])("of %j names %s", async (state, winner, code, reasons) => {
    const explanation = await managerIn(state).manager.explain("alice");
    const said = explanation.steps.map((step) => [step.state, step.reason].filter((text) => text !== null).join(": "));
    expect([explanation.winner, explanation.error?.code ?? null, ...said]).toEqual([winner, code, ...reasons]);
  });

  it("shows the mask and the hash of a sealed row without any master key", async () => {
    const state = { database: "a sealed row", file: "nothing", variable: "nothing", masterKeys: "no master keys" };
    const { steps, stored, warnings, error: failure } = await managerIn(state).manager.explain("alice");
    expect(steps[0]).toMatchObject({ key: KEY.masked, keyHash: KEY.hash });
    expect(stored).toEqual({ origin: "manual", createdAt: record.createdAt });
    expect([warnings, failure?.code]).toEqual([[], "MASTER_KEY_MISSING"]);
  });

  it("that its caller gave up is INTERRUPTED, and not a database that is unavailable", async () => {
    const { manager } = managerIn({ database: "a sealed row", file: "nothing", variable: "nothing" });
    const explanation = await manager.explain("alice", { signal: AbortSignal.abort() });
    expect(explanation).toMatchObject({ winner: null, steps: [], error: { code: "INTERRUPTED" } });
  });
});

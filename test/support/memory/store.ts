import type { ApiKey } from "../../../src/core/model/api-key.ts";
import { ManagementKey } from "../../../src/core/model/management-key.ts";
import type { KeyRequest, UpstreamKey, UpstreamKeys } from "../../../src/core/ports/openrouter.ts";
import type { Version } from "../../../src/core/model/key-record.ts";
import type { KeyStore, KeyCheckValues } from "../../../src/core/ports/stores-and-sources.ts";
import { isTombstone, keyIn } from "../../../src/core/model/tombstone.ts";
import type { StoredRow } from "../../../src/core/model/tombstone.ts";
import type { UserId } from "../../../src/core/model/user-id.ts";
import { memoryHistory } from "./history.ts";
import type { MemoryHistory } from "./history.ts";
import { memoryJournal } from "./journal.ts";
import type { MemoryJournal } from "./journal.ts";
import type { HistoryParts, ManagerContext } from "../../../src/core/manager/manager-options.ts";

/** An in-memory store that fulfils the contract. `rows` and `records` are its content. */
export interface MemoryStore extends KeyStore, KeyCheckValues, MemoryJournal, MemoryHistory {
  readonly rows: Map<UserId, StoredRow>;
}

export function memoryStore(...records: readonly StoredRow[]): MemoryStore {
  const rows = new Map(records.map((record) => [record.userId, record]));
  const checks = new Map<string, string>();
  const sees = (user: UserId, { id, revision, keyEncrypted }: Version): boolean => {
    const row = rows.get(user);
    return row !== undefined && row.id === id && row.revision === revision && row.keyEncrypted === keyEncrypted;
  };
  const keys = () => [...rows.values()].flatMap((row) => keyIn(row) ?? []);
  const insert = (record: StoredRow): boolean => {
    if (rows.has(record.userId)) return false;
    rows.set(record.userId, record);
    return true;
  };
  return {
    ...memoryJournal(),
    ...memoryHistory(),
    rows,
    async find(user, signal) {
      signal.throwIfAborted();
      return rows.get(user);
    },
    async findMany(users, signal) {
      signal.throwIfAborted();
      return users.flatMap((user) => rows.get(user) ?? []);
    },
    async insert(record, signal) {
      signal.throwIfAborted();
      return insert(record);
    },
    async insertMany(all, signal) {
      signal.throwIfAborted();
      return all.map(insert);
    },
    async replace(record, seen, signal) {
      signal.throwIfAborted();
      if (!sees(record.userId, seen)) return false;
      rows.set(record.userId, record);
      return true;
    },
    async remove(user, seen, signal) {
      signal.throwIfAborted();
      return sees(user, seen) && rows.delete(user);
    },
    async recordCheck({ id, keyHash }, check, signal) {
      signal.throwIfAborted();
      const row = keys().find((candidate) => candidate.id === id && candidate.keyHash === keyHash);
      if (row !== undefined) rows.set(row.userId, { ...row, lastCheck: check });
      return row !== undefined;
    },
    async *scan(patience, keyHash) {
      const sorted = keys().toSorted((a, b) => (a.userId < b.userId ? -1 : 1));
      for (const row of sorted) {
        patience().throwIfAborted();
        if (keyHash === undefined || row.keyHash === keyHash) yield row;
      }
    },
    async *scanDueLimits(until, newSignal) {
      for (const row of keys()) {
        newSignal().throwIfAborted();
        if (row.limitDue !== null && row.limitDue.at <= until) yield row;
      }
    },
    async *scanBlocked(newSignal) {
      for (const row of rows.values()) {
        newSignal().throwIfAborted();
        if (isTombstone(row)) yield row;
      }
    },
    async count(signal) {
      signal.throwIfAborted();
      return keys().length;
    },
    async ping(signal) {
      signal.throwIfAborted();
    },
    requireAtomicChanges: async () => {},
    hasAtomicChanges: async () => true,
    async keyCheckValues() {
      return Array.from(checks, ([kid, value]) => ({ kid, value }));
    },
    async insertFirstKeyCheckValue({ kid, value }) {
      if (checks.size > 0) return false;
      checks.set(kid, value);
      return true;
    },
    async addKeyCheckValue({ kid, value }) {
      if (!checks.has(kid)) checks.set(kid, value);
    },
    async removeKeyCheckValue(kid) {
      checks.delete(kid);
    },
    async close() {},
  };
}

const refuse = () => Promise.reject(new Error("nothing is rekeyed here"));
/** For managers that never call OpenRouter. */
export const noOpenRouter: Pick<
  ManagerContext,
  | "openRouter"
  | "managementKey"
  | "managementKeyHashes"
  | "provisioning"
  | "spool"
  | "makingTimeoutMs"
  | "detaches"
  | "requireSealed"
  | "rotateGraceMs"
  | "historyDays"
> &
  HistoryParts = {
  openRouter: { open: refuse, sent: () => 0, onPause: () => () => {}, close: async () => {} },
  managementKey: () => undefined,
  managementKeyHashes: () => new Set(),
  provisioning: {
    terms: (given) => ({ label: null, limit: null, limitReset: null, expiresInMs: null, workspace: null, ...given }),
    maxPerHour: () => 0,
    refusal: null,
  },
  spool: {
    mayHoldKeys: () => false,
    list: async () => [],
    elsewhere: async () => undefined,
    counts: async () => new Map(),
    write: refuse,
    claim: refuse,
    release: refuse,
    remove: refuse,
  },
  requireSealed: false,
  makingTimeoutMs: 90_000,
  rotateGraceMs: () => 600_000,
  historyDays: () => 400,
  actor: async () => ({ osUser: "ann", host: "ops1", ci: null, command: "library" }),
  reason: null,
  detaches: true,
};

const nobody = (): never => {
  throw new Error("this OpenRouter only makes keys");
};
const PERSONAL = { status: "known", organization: null } as const;
const described = (hash: string, request: KeyRequest): UpstreamKey => ({
  ...request,
  hash,
  disabled: false,
  limitRemaining: request.limit,
  includeByokInLimit: request.includeByokInLimit ?? false,
  usageToday: 0,
  createdAt: null,
  lastUsedAt: undefined,
});
const NO_TERMS = { limit: null, limitReset: null, expiresAt: null, includeByokInLimit: null, workspace: null };

const find: UpstreamKeys["find"] = async (hash) => ({
  status: "found",
  key: described(hash, { name: "a key", ...NO_TERMS }),
});

/** An OpenRouter that creates this key, finds every requested key, and can do nothing else. */
export function makingKeys(key: ApiKey): Pick<ManagerContext, "openRouter" | "managementKey"> {
  const create: UpstreamKeys["create"] = async (request) => ({
    status: "created",
    key,
    upstream: described(key.hash, request),
  });
  const keys = {
    organization: async () => PERSONAL,
    workspaces: nobody,
    find,
    disable: nobody,
    remove: nobody,
    setLimit: nobody,
    activity: nobody,
    guardrailAssignments: nobody,
    assignGuardrail: nobody,
    unassignGuardrail: nobody,
    allowLists: nobody,
    setAllowedKeys: nobody,
    list: nobody,
    credits: nobody,
    pause: nobody,
    create,
  };
  const open = async () => ({
    serverTime: () => undefined,
    checkKey: nobody,
    reach: nobody,
    withManagementKey: () => keys,
    close: async () => {},
  });
  return {
    openRouter: { ...noOpenRouter.openRouter, open },
    managementKey: () => ManagementKey.parse("sk-or-mgmt-of-a-test"),
  };
}

/** For managers that never rekey. */
export const nobodysLock: ManagerContext["lock"] = {
  checks: {
    keyCheckValues: refuse,
    insertFirstKeyCheckValue: refuse,
    addKeyCheckValue: refuse,
    removeKeyCheckValue: refuse,
  },
  masterKeys: {
    place: "nowhere",
    load: refuse,
    generate: refuse,
    addActive: refuse,
    remove: refuse,
    assertRemovable: refuse,
  },
  mayGenerate: false,
  pause: refuse,
};

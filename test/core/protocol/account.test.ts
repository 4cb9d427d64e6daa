import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AccountBinding } from "../../../src/core/ports/journal.ts";
import { ManagementKey } from "../../../src/core/model/management-key.ts";
import { StoreAccount } from "../../../src/core/protocol/store-account.ts";
import { lookAtAccount } from "../../../src/core/protocol/compare-account.ts";
import type {
  FindResult,
  Organization,
  Unknown,
  UpstreamKeys,
  WorkspacePage,
} from "../../../src/core/ports/openrouter.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { memoryJournal } from "../../support/memory/journal.ts";
import { clientOf, keyRequest } from "../../support/openrouter/client.ts";
import { always } from "../../support/openrouter/faults.ts";
import type { OpenRouterServer } from "../../support/openrouter/server.ts";
import { mockOpenRouter } from "../../support/openrouter/of-test.ts";
import type { Warning } from "../../../src/core/model/warning.ts";
import { deadlineIn } from "../../../src/core/async/deadline.ts";

const patient = new AbortController().signal;
const budget = () => deadlineIn(10_000, patient);
const UNKNOWN: Unknown = {
  status: "unknown",
  reason: "provider_error",
  httpStatus: 503,
  remedy: undefined,
  attempts: 1,
  detail: "is sick",
};
const GONE: FindResult = { status: "gone" };

/** The n-th key that a store has saved. */
function saved(n: number) {
  const at = new Date(Date.parse("2026-11-22T00:00:00.000Z") + n * 1000).toISOString();
  const outcome = { kind: "out", outcome: "saved", hash: `hash-${n}`, upstreamHash: null } as const;
  return { ...outcome, n, userId: parseUserId("alice"), at };
}

function entry(hash: string, workspace: string | null = "w-1") {
  const said = {
    limit: null,
    limitRemaining: null,
    limitReset: null,
    includeByokInLimit: false,
    usageToday: 0,
    createdAt: null,
    expiresAt: null,
    lastUsedAt: null,
  };
  return { hash, name: "a key", disabled: false, workspace, ...said };
}

interface Answers {
  readonly organization: Organization;
  readonly workspaces: readonly WorkspacePage[];
  readonly find: (hash: string) => FindResult;
}

/** An OpenRouter of which only the account can be asked. */
function answering({ organization, workspaces, find }: Answers): UpstreamKeys {
  const asked = {
    organization: async () => organization,
    async *workspaces() {
      yield* workspaces;
    },
    find: async (hash: string) => find(hash),
  };
  // Whatever else is asked is a bug.
  return asked as unknown as UpstreamKeys;
}

function names(table: object) {
  return fc.constantFrom(...Object.keys(table));
}

describe("the proof of an account", () => {
  const ORGANIZATIONS: Readonly<Record<string, Organization>> = {
    same: { status: "known", organization: "org_1" },
    another: { status: "known", organization: "org_2" },
    none: { status: "known", organization: null },
    unanswered: UNKNOWN,
  };
  const WORKSPACES: Readonly<Record<string, readonly WorkspacePage[]>> = {
    shown: [
      { status: "listed", workspaces: ["w-0"] },
      { status: "listed", workspaces: ["w-2", "w-1"] },
    ],
    others: [{ status: "listed", workspaces: ["w-0", "w-2"] }],
    none: [],
    unanswered: [UNKNOWN],
    "broken off": [{ status: "listed", workspaces: ["w-0"] }, UNKNOWN],
  };
  const FINDINGS: Readonly<Record<string, (hash: string) => FindResult>> = {
    "the oldest found": (hash) => (hash === "hash-1" ? { status: "found", key: entry(hash) } : GONE),
    gone: () => GONE,
    unanswered: (hash) => (hash === "hash-1" ? UNKNOWN : GONE),
  };
  const BINDINGS: Readonly<Record<string, AccountBinding | undefined>> = {
    none: undefined,
    organization: { organization: "org_1", workspaces: [], adoptedAt: null },
    workspaces: { organization: null, workspaces: ["w-1"], adoptedAt: null },
    both: { organization: "org_1", workspaces: ["w-1"], adoptedAt: null },
  };

  it("is any one thing that is ours; only what is another's speaks against it, and else nobody knows", async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        names(BINDINGS),
        names(ORGANIZATIONS),
        names(WORKSPACES),
        names(FINDINGS),
        fc.constantFrom(0, 1, 20),
        async (bound, organization, workspaces, finding, count) => {
          const binding = BINDINGS[bound];
          const journal = memoryJournal(...Array.from({ length: count }, (_, index) => saved(index + 1)));
          if (binding !== undefined) await journal.bindAccount(binding, patient);
          const keys = answering({
            organization: ORGANIZATIONS[organization] ?? UNKNOWN,
            workspaces: WORKSPACES[workspaces] ?? [],
            find: FINDINGS[finding] ?? (() => UNKNOWN),
          });
          const isOrganizationKnown = binding?.organization === "org_1";
          const areWorkspacesKnown = binding?.workspaces.length === 1;
          const isOurs =
            (isOrganizationKnown && organization === "same") ||
            (areWorkspacesKnown && workspaces === "shown") ||
            (count > 0 && finding === "the oldest found");
          const isAnothers =
            binding === undefined
              ? finding !== "unanswered"
              : (isOrganizationKnown && organization === "another") || (areWorkspacesKnown && workspaces === "others");
          const isUnbound = binding === undefined && count === 0;
          const expected = isUnbound ? "unbound" : isOurs ? "ours" : isAnothers ? "other" : "unknown";
          expect((await lookAtAccount(keys, journal, budget())).status).toBe(expected);
          seen.add(expected);
        },
      ),
      { numRuns: 600 },
    );
    expect([...seen].toSorted()).toEqual(["other", "ours", "unbound", "unknown"]);
  });

  it("looks for the twenty newest keys, by OpenRouter's own id", async () => {
    const asked: string[] = [];
    const journal = memoryJournal(
      ...Array.from({ length: 30 }, (_, index) => ({ ...saved(index + 1), upstreamHash: `upstream-${index + 1}` })),
    );
    const find = (hash: string) => {
      asked.push(hash);
      return GONE;
    };
    const keys = answering({ organization: UNKNOWN, workspaces: [], find });
    expect(await lookAtAccount(keys, journal, budget())).toEqual({ status: "other" });
    expect(asked).toEqual(Array.from({ length: 20 }, (_, index) => `upstream-${30 - index}`));
  });

  it("stops at the first proof", async () => {
    const asked: string[] = [];
    const find = (hash: string): FindResult => {
      asked.push(hash);
      return { status: "found", key: entry(hash) };
    };
    const keys = answering({ organization: UNKNOWN, workspaces: [], find });
    const sight = await lookAtAccount(keys, memoryJournal(saved(1), saved(2)), budget());
    expect([sight, asked]).toEqual([{ status: "ours", unboundKey: entry("hash-2") }, ["hash-2"]]);
  });
});

describe("a key that is shown", () => {
  const at = saved(1).at;
  const another = { organization: "org_2", workspaces: [], adoptedAt: at };

  it.each([
    ["proves the account where it was saved after the store was bound to it", 2, { status: "ours", unboundKey: null }],
    [
      "proves nothing where it is older: it may be of the account before",
      1,
      { status: "unknown", detail: "shows it keys from before the database was bound to its account" },
    ],
  ])("%s", async (_name, shown, expected) => {
    const journal = memoryJournal(saved(1), saved(2));
    await journal.bindAccount(another, patient);
    const find = (hash: string): FindResult =>
      hash === `hash-${shown}` ? { status: "found", key: entry(hash) } : GONE;
    const keys = answering({ organization: { status: "known", organization: "org_1" }, workspaces: [], find });
    expect(await lookAtAccount(keys, journal, budget())).toEqual(expected);
  });

  it.each([
    [2, "ours"],
    [1, "unknown"],
  ] as const)("on a list of all keys as well: number %d", async (shown, expected) => {
    const server = await mockOpenRouter({ organization: "org_1" });
    const { journal, account } = await accountAt(server);
    for (const record of [saved(1), saved(2)]) await journal.insertEntry(record, patient);
    await journal.bindAccount({ ...another, organization: "org_1", workspaces: ["w-9"] }, patient);
    server.behave(({ route }) => (route === "GET /workspaces" || route === "GET /key" ? { status: 403 } : "pass"));
    const listed = new Map([[`hash-${shown}`, entry(`hash-${shown}`)]]);
    expect(await account.standingBy(listed, () => patient)).toBe(expected);
  });
});

/** A store, its account, and what it asks of a real server. */
async function accountAt(server: OpenRouterServer, managementKey = server.managementKey) {
  const journal = memoryJournal();
  const warnings: Warning[] = [];
  const { client } = clientOf(server);
  let now = 0;
  const context = {
    journal,
    clock: { now: () => new Date() },
    openRouter: { open: async () => client, sent: () => 0, onPause: () => () => {}, close: async () => {} },
    managementKey: () => ManagementKey.parse(managementKey),
  };
  const account = new StoreAccount(
    context,
    (warning) => warnings.push(warning),
    () => now,
  );
  const later = (milliseconds: number) => (now += milliseconds);
  return { journal, account, warnings, later, context };
}

const BOUND = { organization: "org_1", workspaces: ["w-1"], adoptedAt: null } as const;

describe("the account of a process", () => {
  it("is looked at once, however many ask at the same time and after that", async () => {
    const server = await mockOpenRouter({ organization: "org_1", latencyMs: 20 });
    const { journal, account } = await accountAt(server);
    await journal.bindAccount(BOUND, patient);
    // Each with a signal of its own, as every call has.
    const ask = () => account.standing(new AbortController().signal);
    const many = await Promise.all(Array.from({ length: 30 }, ask));
    expect([new Set(many), await account.standing(patient), server.count()]).toEqual([new Set(["ours"]), "ours", 1]);
  });

  it("is bound by the first of many keys that are created at the same time", async () => {
    const server = await mockOpenRouter({ organization: "org_1" });
    const { journal, account } = await accountAt(server);
    await Promise.all(Array.from({ length: 30 }, (_, index) => account.created(entry(`hash-${index}`))));
    expect([await journal.account(patient), server.count("GET /key")]).toEqual([BOUND, 1]);
  });

  it("binds nothing where OpenRouter says nothing of it", async () => {
    const server = await mockOpenRouter();
    const { journal, account } = await accountAt(server);
    await account.created(entry("hash-1", null));
    expect(await journal.account(patient)).toBeUndefined();
  });

  it("that was bound by another process meanwhile is compared before the next change", async () => {
    const server = await mockOpenRouter({ organization: "org_1" });
    const { journal, account } = await accountAt(server);
    expect(await account.standing(patient)).toBe("unbound");
    await journal.bindAccount({ organization: "org_2", workspaces: ["w-2"], adoptedAt: null }, patient);
    await account.created(entry("hash-1"));
    await expect(account.standing(patient)).rejects.toMatchObject({ code: "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT" });
  });

  it("is not bound after a key of an account that is not known", async () => {
    const server = await mockOpenRouter();
    const { journal, account, warnings } = await accountAt(server);
    await journal.insertEntry(saved(1), patient);
    server.behave(always("GET /keys/{hash}", { status: 403 }));
    expect(await account.standing(patient)).toBe("unknown");
    await account.created(entry("hash-2"));
    expect([await journal.account(patient), warnings.map(({ code }) => code)]).toEqual([
      undefined,
      ["ACCOUNT_UNKNOWN"],
    ]);
  });

  it("is looked at again after a minute where it was another's or unknown, and warned of once", async () => {
    const server = await mockOpenRouter({ organization: "org_2" });
    const { journal, account, warnings, later } = await accountAt(server);
    await journal.bindAccount(BOUND, patient);
    const refusal = { code: "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT" };
    for (const _ of [1, 2]) await expect(account.standing(patient)).rejects.toMatchObject(refusal);
    const first = server.count();
    server.behave(() => ({ status: 404 }));
    later(59_999);
    await expect(account.standing(patient)).rejects.toMatchObject(refusal);
    expect(server.count()).toBe(first);
    later(1);
    expect([await account.standing(patient), await account.standing(patient)]).toEqual(["unknown", "unknown"]);
    later(60_000);
    expect(await account.standing(patient)).toBe("unknown");
    expect(warnings).toHaveLength(1);
    await journal.rebindAccount({ organization: "org_2", workspaces: [], adoptedAt: null }, patient);
    server.behave(() => "pass");
    later(60_000);
    expect(await account.standing(patient)).toBe("ours");
  });

  it("that nobody waits for any more is not remembered as unknown", async () => {
    const server = await mockOpenRouter({ organization: "org_1" });
    const { journal, account } = await accountAt(server);
    await journal.bindAccount(BOUND, patient);
    server.behave(() => "hang");
    const impatient = account.standing(AbortSignal.timeout(50));
    await expect(impatient).rejects.toMatchObject({ code: "PROVIDER_UNAVAILABLE", retryable: true });
    const leaving = new AbortController();
    const left = account.standing(leaving.signal);
    leaving.abort(new Error("the caller has gone"));
    await expect(left).rejects.toThrow("the caller has gone");
    server.behave(() => "pass");
    expect(await account.standing(patient)).toBe("ours");
  });

  it("is ours in all of its changes: one that is created there is found there", async () => {
    const server = await mockOpenRouter();
    const { journal, account } = await accountAt(server);
    const { upstream, budget: time } = clientOf(server);
    const creation = await upstream.create(keyRequest(), time());
    if (creation.status !== "created") return expect(creation.status).toBe("created");
    await journal.insertEntry({ ...saved(1), hash: creation.key.hash }, patient);
    expect(await account.standing(patient)).toBe("ours");
    expect(await journal.account(patient)).toEqual({
      organization: null,
      workspaces: [server.defaultWorkspace],
      adoptedAt: null,
    });
  });
});

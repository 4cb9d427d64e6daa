import { describe, expect, it, onTestFinished } from "vitest";
import type { KeyManager } from "../../src/core/manager/manager.ts";
import { KeyManager as Library, syncUserApiKey } from "../../src/index.ts";
import { CALLS } from "../../src/library/calls.ts";
import { emptyHome } from "../support/home/home.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { asLibrary } from "../support/programs/library-in-process.ts";

const KEY = `sk-or-v1-${"7".repeat(60)}c9d1`;
const NO_IDS: readonly unknown[] = [undefined, null, { $ne: null }, { $gt: "" }, ["alice"], 7, true, "", " x", "a\nb"];
/** What the arguments after the user id may be. */
const OTHERS: Readonly<Record<string, readonly unknown[]>> = {
  saveKeyToDb: [KEY],
  save: [KEY],
  withUserKey: [async () => null],
};

interface Told {
  readonly error: { readonly code: string; readonly hint: string; readonly message: string } | null;
}

/** Calls a method as a program without types does, and returns its failure, whichever way it was told. */
async function failureOf(keys: KeyManager, name: string, given: readonly unknown[]): Promise<Told["error"]> {
  try {
    const method: unknown = Reflect.get(keys, name);
    if (typeof method !== "function") throw new Error(`no method ${name}`);
    const answer: unknown = await Reflect.apply(method, keys, given);
    if (typeof answer !== "object" || answer === null) return null;
    if (Symbol.asyncIterator in answer) {
      for await (const _ of answer as AsyncIterable<unknown>);
      return null;
    }
    return (answer as Told).error;
  } catch (thrown) {
    return thrown as Told["error"];
  }
}

const names = Object.keys(CALLS) as (keyof typeof CALLS)[];
const takes = (name: keyof typeof CALLS): readonly (readonly unknown[])[] => CALLS[name].takes;
const first = (name: keyof typeof CALLS) => takes(name)[0]?.[0];

async function* batch(...items: unknown[]) {
  yield items;
}

describe("what is no user id", () => {
  it("is BAD_USER_ID in the error of each method for one user, which names no user then", async () => {
    await asLibrary(emptyHome(), {}, async (keys) => {
      for (const name of names.filter((each) => first(each) === "the user id")) {
        for (const id of NO_IDS) {
          const error = await failureOf(keys, name, [id, ...(OTHERS[name] ?? [])]);
          expect({ name, id, code: error?.code }).toEqual({ name, id, code: "BAD_USER_ID" });
        }
      }
      expect(await keys.syncAndGetKey({ $ne: null } as never)).toMatchObject({ userId: "", key: null });
    });
  });

  it("is thrown where many users are read, and where a query names one", async () => {
    await asLibrary(emptyHome(), { OPENROUTER_PROVISIONING_KEY: `sk-or-v1-${"m".repeat(64)}` }, async (keys) => {
      for (const name of names.filter((each) => first(each) === "the batches" && each !== "importKeys")) {
        for (const id of NO_IDS) {
          expect([name, id, (await failureOf(keys, name, [batch(id)]))?.code]).toEqual([name, id, "BAD_USER_ID"]);
        }
      }
      expect(await failureOf(keys, "importKeys", [batch({ userId: {}, key: KEY })])).toMatchObject({
        code: "BAD_USER_ID",
      });
      const run = await keys.validateMany();
      for (const id of NO_IDS.filter((each) => each !== undefined)) {
        const told = [
          await failureOf(keys, "history", [{ userId: id }]),
          await failureOf(keys, "reconcile", [{ userId: id }]),
          await failureOf(run as never, "results", [batch(id)]),
        ];
        expect([id, told.map((error) => error?.code)]).toEqual([id, Array(3).fill("BAD_USER_ID")]);
      }
    });
  });

  it("is in no result of a process that cannot open its store", async () => {
    const before = process.env["KEYCTL_STORE"];
    onTestFinished(() => {
      if (before === undefined) delete process.env["KEYCTL_STORE"];
      else process.env["KEYCTL_STORE"] = before;
    });
    process.env["KEYCTL_STORE"] = "nonsense";
    expect(await syncUserApiKey({ $ne: null } as never)).toMatchObject({
      userId: "",
      error: { code: "CONFIG_INVALID" },
    });
  });
});

describeWithMongodb("what is no user id, in MongoDB", () => {
  it("finds nobody's key and removes none", async () => {
    const environment = { KEYCTL_STORE: databaseOfTest().uri, KEYCTL_CREATE_STORE: "1" };
    await asLibrary(emptyHome(), environment, async (keys) => {
      for await (const _ of keys.rekey({ kind: "init" }));
      expect((await keys.save("alice", KEY)).error).toBeNull();
      for (const id of [{ $ne: null }, { $gt: "" }, { $in: ["alice"] }, undefined]) {
        expect(await keys.getStoredKey(id as never)).toMatchObject({ key: null, error: { code: "BAD_USER_ID" } });
        expect(await keys.purge(id as never)).toMatchObject({ purged: false, error: { code: "BAD_USER_ID" } });
      }
      expect(await keys.count()).toBe(1);
    });
  });
});

const hasOptions = (name: keyof typeof CALLS) => takes(name).some(([what]) => what === "the argument with options");

/** The arguments of a call whose options are these. */
function givenTo(name: keyof typeof CALLS, keys: KeyManager, options: unknown): readonly unknown[] {
  const samples: Readonly<Record<string, unknown>> = {
    "the user id": "alice",
    "the key": KEY,
    "the batches": batch(),
    "the result": { userId: "alice", key: {} },
    "the results": [],
    "the call": async () => null,
    "the destination": keys,
    "the query": {},
    "the argument with options": options,
  };
  return takes(name).map(([what]) => samples[String(what)]);
}

const opened = async (options: unknown) => Library.open(options as never).catch((thrown: unknown) => thrown);

describe("what is no option", () => {
  it("is USAGE from each method that has options, with the name that was meant and those that there are", async () => {
    await asLibrary(emptyHome(), {}, async (keys) => {
      for (const name of names.filter(hasOptions)) {
        const error = await failureOf(keys, name, givenTo(name, keys, { timeout: 5 }));
        expect([name, error?.code, error?.message]).toEqual([
          name,
          "USAGE",
          `${name} has no option 'timeout'; did you mean timeoutMs?`,
        ]);
        expect(error?.hint).toContain("timeoutMs, signal");
      }
    });
  });

  it.each([
    { timeoutMs: "5s" },
    { timeoutMs: Number.NaN },
    { timeoutMs: -1 },
    { timeoutMs: null },
    { signal: {} },
    { signal: "now" },
    null,
    [],
    7,
    "5s",
  ])("is USAGE from each method for the value of %j", async (options) => {
    await asLibrary(emptyHome(), {}, async (keys) => {
      for (const name of names.filter(hasOptions)) {
        const error = await failureOf(keys, name, givenTo(name, keys, options));
        expect([name, error?.code]).toEqual([name, "USAGE"]);
      }
    });
  });

  it.each([
    ["syncAndGetKey", ["alice", { autoProvision: "no" }]],
    ["autoProvisionKey", ["alice", { terms: { limt: 5 } }]],
    ["autoProvisionKey", ["alice", { terms: { limitReset: "hourly" } }]],
    ["save", ["alice", KEY, { replace: "all" }]],
    ["save", ["alice", KEY, { replace: {} }]],
    ["saveKeyToDb", ["alice", KEY, { timeoutMs: 5 }]],
    ["purge", ["alice", { revoke: true }]],
    ["block", ["alice", { block: false }]],
    ["rotate", ["alice", { limit: "all" }]],
    ["leaked", [KEY, { since: "2026-01-01" }]],
    ["history", [{ since: 5 }]],
    ["history", [{ user: "alice" }]],
    ["rows", [{}, 5]],
    ["withUserKey", ["alice", null]],
    ["noteRevealed", ["alice"]],
    ["copyTo", ["sqlite:/b.db"]],
    ["syncMany", [["alice"]]],
    ["syncMany", ["alice"]],
    ["validateFound", [undefined]],
    ["provisionTerms", [{ limit: "10" }]],
    ["rekey", [{ kid: "a" }]],
    ["rekey", [{ kind: "keep-key", kid: "a" }]],
    ["rekey", [{ kind: "retire" }]],
    ["rekey", [{ kind: "retire", kid: "" }]],
  ])("is USAGE from %s where a value is of another kind (row %#)", async (name, given) => {
    await asLibrary(emptyHome(), {}, async (keys) => {
      const error = await failureOf(keys, name, given);
      expect(error?.code).toBe("USAGE");
    });
  });

  it("is not what is undefined", async () => {
    await asLibrary(emptyHome(), { KEYCTL_AUTO_PROVISION: "0" }, async (keys) => {
      const options = { timeoutMs: undefined, signal: undefined, autoProvision: undefined, reason: undefined };
      expect((await keys.syncAndGetKey("alice", options)).error?.code).toBe("NO_KEY");
      expect(await keys.count({ timeoutMs: undefined })).toBe(0);
    });
  });

  it("is USAGE from KeyManager.open, and repeats no key", async () => {
    expect(await opened({ stroe: "sqlite:a.db" })).toMatchObject({
      code: "USAGE",
      message: "KeyManager.open has no option 'stroe'; did you mean store?",
    });
    for (const options of [
      null,
      "sqlite:a.db",
      { store: "" },
      { keyFile: "" },
      { log: "stdout" },
      { create: 1 },
      { actor: { user: "x" } },
    ])
      expect(await opened(options)).toMatchObject({ code: "USAGE" });
    expect(String(await opened({ [KEY]: 1 }))).not.toContain(KEY);
  });
});

describe("the hint for a wrong value", () => {
  it.each([
    ["rotate", ["alice", { graceMs: "1d" }], "graceMs: 86_400_000"],
    ["rotate", ["alice", { graceMs: -1 }], "graceMs: 86_400_000"],
    ["rotate", ["alice", { expiresInMs: "90d" }], "expiresInMs: 7_776_000_000"],
    ["rotate", ["alice", { expiresAt: 5 }], 'expiresAt: "2027-03-01T00:00:00Z"'],
    ["rotateMany", [batch(), { olderThanMs: "90d" }], "olderThanMs: 7_776_000_000"],
    ["rotateMany", [batch(), { maxKeys: -1 }], "maxKeys: 10"],
    ["validate", ["alice", { warnWithinMs: -1 }], "warnWithinMs: 604_800_000"],
    ["validate", ["alice", { timeoutMs: -1 }], "timeoutMs: 30_000"],
    ["purge", ["alice", { reason: 5 }], 'reason: "laptop lost"'],
    ["rekey", [{ kid: "a" }], 'for await (const _ of keys.rekey({ kind: "retire", kid: "a" }));'],
  ])("of %s is one that makes sense (row %#)", async (name, given, hint) => {
    await asLibrary(emptyHome(), {}, async (keys) => {
      expect(await failureOf(keys, name, given)).toMatchObject({ code: "USAGE", hint });
    });
  });

  it.each([
    ["rotateMany", "graceMs"],
    ["rotateMany", "expiresInMs"],
    ["validateMany", "concurrency"],
    ["validateMany", "warnWithinMs"],
    ["validateMany", "notValidatedSinceMs"],
    ["renewMany", "maxKeys"],
  ] as const)("of %s is within the bounds of %s", async (method, option) => {
    await asLibrary(emptyHome(), {}, async (keys) => {
      const wrong = await failureOf(keys, method, givenTo(method, keys, { [option]: -1 }));
      const value = Number(wrong?.hint.split(": ")[1]?.replaceAll("_", ""));
      expect(value).toBeGreaterThan(0);
      expect((await failureOf(keys, method, givenTo(method, keys, { [option]: value }))) ?? null).toBeNull();
    });
  });

  it("names no bound that nobody can reach, and speaks of one object", async () => {
    await asLibrary(emptyHome(), {}, async (keys) => {
      const bound = await failureOf(keys, "renewMany", [batch(), { maxKeys: -1 }]);
      expect(bound?.message).toBe("maxKeys is a whole number of 0 or more");
      const nested = await failureOf(keys, "provisionTerms", [{ limt: 5 }]);
      expect(nested?.message).toBe("there is no 'limt' in the terms of provisionTerms; did you mean limit?");
    });
  });
});

const fail = () => {
  throw new TypeError("it is no key");
};

describe("what is no key", () => {
  it("is BAD_KEY_FORMAT, whatever it is", async () => {
    await asLibrary(emptyHome(), {}, async (keys) => {
      const fakes = [
        { reveal: null, hash: "x" },
        { reveal: () => 7, hash: "x" },
        { reveal: fail, hash: "x" },
      ];
      for (const key of [undefined, null, 7, {}, "", "alice", ...fakes, { reveal: () => "alice", hash: "x" }]) {
        const told = [
          await failureOf(keys, "save", ["alice", key]),
          await failureOf(keys, "validateKeyWithApi", [key]),
          await failureOf(keys, "leaked", [key]),
        ];
        expect([key, told.map((error) => error?.code)]).toEqual([key, Array(3).fill("BAD_KEY_FORMAT")]);
      }
    });
  });
});

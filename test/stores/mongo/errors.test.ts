import { MongoNetworkError, MongoServerSelectionError } from "mongodb";
import type { TopologyDescription } from "mongodb";
import { describe, expect, it } from "vitest";
import { mongoError, mongoLate } from "../../../src/stores/mongo/errors.ts";

const STORE = { name: "mongodb://db/keys", from: "KEYCTL_STORE" };
const READ = { isWrite: false };

/** What the driver knows when its only server could not be connected to for this reason. */
function seen(error: Error): TopologyDescription {
  // Of the description only this is read.
  const servers = new Map([["db:27017", { error, type: "Unknown" }]]);
  return { servers, compatible: true } as unknown as TopologyDescription;
}

describe("a mistake in the code that the driver takes for the network's", () => {
  it.each([
    new TypeError("this.client.connect is not a function"),
    Object.assign(new TypeError("x"), { code: "ERR_INVALID_ARG_TYPE" }),
    new ReferenceError("x"),
    Object.assign(new Error("x"), { name: "AssertionError", code: "ERR_ASSERTION" }),
  ])("is thrown as it is: %s", (bug) => {
    const wrapped = new MongoNetworkError("closed", { cause: bug });
    expect(mongoError(bug, STORE, READ)).toBe(bug);
    expect(mongoError(wrapped, STORE, READ)).toBe(bug);
    expect(mongoError(new MongoServerSelectionError("none", seen(bug)), STORE, READ)).toBe(bug);
    expect(mongoError(new MongoServerSelectionError("none", seen(wrapped)), STORE, READ)).toBe(bug);
    expect(mongoLate(seen(wrapped), STORE, READ)).toBe(bug);
  });

  it.each([
    ["ECONNREFUSED", "refused the connection"],
    ["ERR_OSSL_PEM_NO_START_LINE", "needs a certificate file that cannot be used"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "could not be reached over TLS"],
  ])("is none when its code is known: %s", (code, problem) => {
    const cause = Object.assign(new TypeError("x"), { code });
    const wrapped = new MongoNetworkError("closed", { cause });
    const expected = { name: "KeyctlError", message: expect.stringContaining(problem) as string };
    expect(mongoError(wrapped, STORE, READ)).toMatchObject(expected);
    expect(mongoError(new MongoServerSelectionError("none", seen(wrapped)), STORE, READ)).toMatchObject(expected);
  });
});

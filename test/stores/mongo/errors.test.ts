import * as fc from "fast-check";
import {
  MongoBulkWriteError,
  MongoErrorLabel,
  MongoNetworkError,
  MongoParseError,
  MongoServerError,
  MongoServerSelectionError,
  MongoWriteConcernError,
} from "mongodb";
import type { BulkWriteResult, TopologyDescription } from "mongodb";
import { describe, expect, it } from "vitest";
import { mongoError, mongoLate } from "../../../src/stores/mongo/errors.ts";

const STORE = { name: "mongodb://db/keys", from: "KEYCTL_STORE", isAnonymous: false };
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

/** The server says these and has written nothing; on whatever other code nobody may rely. */
const NOTHING_WRITTEN = [
  11, 13, 18, 59, 61, 112, 121, 133, 166, 334, 10_058, 10_107, 11_000, 12_501, 13_435, 13_436, 14_031,
  // PostgreSQL's 40000, 40001, 40P01 and 55P03, as FerretDB 2 passes them on.
  4, 16_777_220, 16_908_292, 50_463_045,
];
/** Of these, what is looked at before the first write of a batch. */
const REFUSED_AT_THE_DOOR = [11, 13, 18, 59, 166, 334];

const anyCode = fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 2 ** 31 - 1 }));
const asWrite = (thrown: unknown) => mongoError(thrown, STORE, { isWrite: true });
const answerWith = (code: number, errmsg = "told") => new MongoServerError({ ok: 0, code, errmsg });
/** The driver hides what ended a batch in an error of the batch. */
const batchEndedBy = (error: MongoServerError) => new MongoBulkWriteError(error, resultOf());

function resultOf(concern?: object): BulkWriteResult {
  // Of the result only this is read.
  return { getWriteConcernError: () => concern } as unknown as BulkWriteResult;
}

describe("a write that the server has answered with an error", () => {
  it("may have been applied, whatever its code, unless that is known to say that it was not", () => {
    fc.assert(
      fc.property(
        anyCode.filter((code) => !NOTHING_WRITTEN.includes(code) && code !== 8000),
        (code) => {
          expect(asWrite(answerWith(code))).toMatchObject({ name: "KeyctlError", mayHaveHappened: true });
          expect(asWrite(batchEndedBy(answerWith(code)))).toMatchObject({ mayHaveHappened: true });
        },
      ),
    );
  });

  it("may have been applied when only the write concern failed, whatever the code", () => {
    fc.assert(
      fc.property(fc.oneof(anyCode, fc.constantFrom(...NOTHING_WRITTEN)), (code) => {
        const error = new MongoWriteConcernError({ ok: 1, writeConcernError: { code, errmsg: "told" } });
        expect(asWrite(error)).toMatchObject({ mayHaveHappened: true });
        const ofBatch = new MongoBulkWriteError({ message: "told", code, writeErrors: [] }, resultOf({ code }));
        expect(asWrite(ofBatch)).toMatchObject({ mayHaveHappened: true });
      }),
    );
  });

  it.each(NOTHING_WRITTEN)("was not applied when the code is %i, of one write", (code) => {
    expect(asWrite(answerWith(code))).toMatchObject({ mayHaveHappened: false });
  });

  it.each(NOTHING_WRITTEN)(
    "may be applied in part when the code %i ends a batch, but for what is refused at the door",
    (code) => {
      const mayHaveHappened = !REFUSED_AT_THE_DOOR.includes(code);
      expect(asWrite(batchEndedBy(answerWith(code)))).toMatchObject({ mayHaveHappened });
    },
  );

  it.each([
    ["you are over your space quota, using 512 MB of 512 MB", false],
    ["user is not allowed to do action [insert] on [keys.api_keys]", false],
    ["an internal error has occurred", true],
  ])("is told by its text where Atlas has one code for all: %s", (text, mayHaveHappened) => {
    expect(asWrite(answerWith(8000, text))).toMatchObject({ mayHaveHappened });
  });

  it("was not sent at all when it fails while the connection is made", () => {
    const error = answerWith(91);
    error.addErrorLabel(MongoErrorLabel.HandshakeError);
    expect(asWrite(error)).toMatchObject({ mayHaveHappened: false });
  });

  it("may have been applied when its answer cannot be read", () => {
    expect(asWrite(new MongoParseError("Invalid message size"))).toMatchObject({ mayHaveHappened: true });
  });

  it("may pass, unless its code is known to say that somebody must change something", () => {
    fc.assert(
      fc.property(
        anyCode.filter((code) => code > 20_000),
        (code) => {
          expect(asWrite(answerWith(code))).toMatchObject({ retryable: true });
        },
      ),
    );
    for (const code of [11, 13, 18, 61, 121, 166, 334, 12_501, 14_031]) {
      expect(asWrite(answerWith(code))).toMatchObject({ retryable: false });
    }
  });
});

import * as fc from "fast-check";
import type { Entry, Recorded } from "../../src/core/ports/journal.ts";
import { NO_TERMS } from "../../src/core/model/key-record.ts";
import type { KeyRecord, LastCheck, LimitReset, Previous, Terms } from "../../src/core/model/key-record.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";

/** What may stand in a store, at random. */

/** Well-formed, and without a NUL, which SQL takes for the end of a text. */
const text = fc
  .string({ unit: "binary", maxLength: 40 })
  .filter((candidate) => candidate.isWellFormed() && !candidate.includes("\0"));
const hash = fc.stringMatching(/^[0-9a-f]{64}$/);
const time = fc
  .date({ min: new Date("1970-01-01"), max: new Date("9999-12-31"), noInvalidDate: true })
  .map((date) => date.toISOString());
/** In USD, to any fraction that OpenRouter may count in. */
const money = fc.oneof(fc.double({ min: 1e-9, max: 1e9, noNaN: true }), fc.nat({ max: 1_000_000 }));
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const limitReset = fc.constantFrom<LimitReset>("daily", "weekly", "monthly");
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: null });

export const users = fc.oneof(
  fc.stringMatching(/^[0-9a-fA-F]{24}$/).map(parseUserId),
  fc.stringMatching(/^[a-z0-9@._:;-]{1,60}$/).map(parseUserId),
);

const terms: fc.Arbitrary<Terms> = fc.record({
  name: maybe(text),
  label: maybe(text),
  limit: maybe(money),
  limitReset: maybe(limitReset),
  expiresAt: maybe(time),
  upstreamHash: maybe(hash),
});

const lastCheck: fc.Arbitrary<LastCheck> = fc.record({
  at: time,
  verdict: fc.constantFrom("valid", "invalid"),
  reason: maybe(text),
});

const aboutAKey = {
  keyHash: maybe(hash),
  keyTail: maybe(fc.stringMatching(/^[A-Za-z0-9_-]{4}$/)),
  origin: text,
  createdAt: time,
  lastValidated: maybe(time),
  lastCheck: maybe(lastCheck),
};

const previous: fc.Arbitrary<Previous> = fc
  .tuple(
    fc.record({
      ...aboutAKey,
      revoke: fc.boolean(),
      keyEncrypted: maybe(hash.map((payload) => `eyJ0eXAi.${payload}...`)),
    }),
    generations(),
  )
  .map(([fields, made]) => ({ ...fields, ...made }));

/** Of a key that keyctl did not make there are no terms, and of what is settled there is nothing before it. */
export const stored: fc.Arbitrary<Omit<KeyRecord, "id" | "userId">> = fc
  .tuple(
    fc.record({
      ...aboutAKey,
      revision: maybe(count),
      keyEncrypted: hash.map((payload) => `eyJ0eXAi.${payload}...`),
      updatedAt: time,
    }),
    generations(),
    fc.oneof(
      fc.constant({ settled: true, previous: null }),
      fc.record({ settled: fc.constant(false), previous: maybe(previous) }),
    ),
  )
  .map(([fields, made, state]) => ({ ...fields, ...made, ...state, foreignFields: [] }));

function generations() {
  return fc.oneof(
    fc.constant({ generation: 0, ...NO_TERMS }),
    fc
      .tuple(fc.integer({ min: 1, max: 99_999_999 }), terms)
      .map(([generation, withTerms]) => ({ generation, ...withTerms })),
  );
}

const n = fc.integer({ min: 1, max: 99_999_999 });

export const entries: fc.Arbitrary<Omit<Recorded, "userId"> & Entry> = fc.oneof(
  fc.record({
    kind: fc.constant("op" as const),
    n,
    at: time,
    nonce: fc.stringMatching(/^[0-9a-f]{16}$/),
    label: maybe(text),
    limit: maybe(money),
    limitReset: maybe(limitReset),
    expiresAt: maybe(time),
    workspace: maybe(text),
    deliberate: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("out" as const),
    n,
    at: time,
    outcome: fc.constant("saved" as const),
    hash,
    upstreamHash: maybe(hash),
  }),
  fc.record({ kind: fc.constant("out" as const), n, at: time, outcome: fc.constant("abandoned" as const) }),
  fc.record({
    kind: fc.constant("rev" as const),
    n,
    at: time,
    reason: fc.constantFrom("superseded" as const, "purged" as const),
    revoke: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom("del" as const, "gone" as const), n, at: time }),
);

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as replies from "../../src/openrouter/replies.ts";
import { classifyResponse } from "../../src/openrouter/http/exchange.ts";
import { canariesIn, CANARIES } from "../support/fixtures/leak-canaries.ts";
import { hashOf, keyEnding } from "../support/fixtures/keys.ts";
import { keyRequest } from "../support/openrouter/client.ts";
import { serverMessage } from "../../src/openrouter/replies.ts";

const KEY = keyEnding("0001");
const ENTRY = { hash: hashOf(KEY), name: "a", disabled: false };

const READERS: Readonly<Record<string, (json: unknown) => unknown>> = {
  acceptedKey: replies.acceptedKey,
  organizationOf: replies.organizationOf,
  describedKey: replies.describedKey,
  listedKeys: replies.listedKeys,
  workspaceIds: replies.workspaceIds,
  createdKey: (json) => replies.createdKey(json, keyRequest()),
  isDeletion: replies.isDeletion,
  creditsOf: replies.creditsOf,
  activityIn: replies.activityIn,
  assignmentsIn: replies.assignmentsIn,
  allowListsIn: replies.allowListsIn,
  allowListIn: replies.allowListIn,
  isCount: (json) => replies.isCount(json, "assigned_count"),
  errorMessage: (json) => replies.errorMessage(json, KEY),
  errorCode: replies.errorCode,
};

/** Whatever JSON can be, and what is nearly a reply. */
const FIELDS = [
  "data",
  "key",
  "error",
  "message",
  "name",
  "success",
  "deleted",
  "hash",
  "disabled",
  "limit",
  "id",
  "key_hash",
  "guardrail_id",
  "allowed_api_key_hashes",
  "assigned_count",
  "date",
  "usage",
  "__proto__",
  "expires_at",
];
const value = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(KEY, ENTRY.hash, "ZodError", "2027-01-01T00:00:00Z", "2027-01-01", "[{}]", 1e308),
);
const nearly = fc.letrec((tie) => ({
  reply: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    value,
    fc.array(tie("reply"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...FIELDS), tie("reply"), { maxKeys: 6 }),
  ),
})).reply;

describe("a reply", () => {
  it.each(Object.entries(READERS))("that is any JSON is read by %s without an exception", (_name, read) => {
    fc.assert(
      fc.property(nearly, (json) => void read(json)),
      { numRuns: 500 },
    );
  });

  it("of any status, type and text is judged without an exception, and only JSON with 2xx is a reply", () => {
    const answers = fc.record({
      status: fc.constant("answered" as const),
      httpStatus: fc.integer({ min: 200, max: 599 }),
      contentType: fc.option(fc.oneof(fc.constantFrom("application/json", "text/html"), fc.string()), {
        nil: undefined,
      }),
      retryAfter: fc.option(fc.string(), { nil: undefined }),
      date: fc.option(fc.string(), { nil: undefined }),
      text: fc.oneof(
        fc.string(),
        nearly.map((json) => JSON.stringify(json)),
      ),
    });
    fc.assert(
      fc.property(answers, (answer) => {
        const judged = classifyResponse(answer, KEY, 0);
        if (judged.kind === "failure") return typeof judged.detail === "string";
        expect(judged.json).toEqual(JSON.parse(answer.text));
        return answer.httpStatus < 300;
      }),
    );
  });
});

describe("what a key may say of itself", () => {
  it("may be nothing, and more than we know", () => {
    const nothing = { limit: undefined, limitRemaining: undefined, limitReset: null, expiresAt: undefined };
    const label = "sk-or-v1-abc...xyz";
    const accepted = { status: "accepted", ...nothing, isManagementKey: false };
    expect(replies.acceptedKey({ data: { label } })).toEqual(accepted);
    expect(replies.acceptedKey({ data: { label, new_field: { a: 1 } }, more: 1 })).toEqual(accepted);
    expect(replies.acceptedKey({ data: { label, disabled: false }, error: null })).toEqual(accepted);
  });

  it.each([
    [{}],
    [{ data: [] }],
    [{ data: {} }],
    [{ data: { new_field: { a: 1 } } }],
    [{ data: { label: "a", disabled: true } }],
    [{ data: { label: "a" }, error: { code: 401, message: "User not found." } }],
    [{ data: { label: "a" }, error: "text" }],
  ])("is not that it works: %j", (json) => {
    expect(replies.acceptedKey(json)).toBeUndefined();
  });

  it.each([
    [{ limit: null }, { limit: null }],
    [{ limit: 0 }, { limit: 0 }],
    [{ limit: "5" }, { limit: undefined }],
    [JSON.parse('{"limit":1e999}'), { limit: undefined }],
    [{ limit_remaining: -0.5 }, { limitRemaining: -0.5 }],
    [{ limit_reset: "weekly" }, { limitReset: "weekly" }],
    [{ limit_reset: "every\u001b[2Jday" }, { limitReset: null }],
    [{ is_provisioning_key: true }, { isManagementKey: true }],
    [{ is_management_key: "true" }, { isManagementKey: false }],
    [{ expires_at: "2027-01-01T00:00:00Z" }, { expiresAt: "2027-01-01T00:00:00.000Z" }],
    [{ expires_at: "2027-01-01T02:00:00.123456+02:00" }, { expiresAt: "2027-01-01T00:00:00.123Z" }],
    [{ expires_at: null }, { expiresAt: null }],
    [{ expires_at: "tomorrow" }, { expiresAt: "unknown" }],
    [{ expires_at: "2027-01-01" }, { expiresAt: "unknown" }],
    [{ expires_at: "2027-01-01T00:00:00" }, { expiresAt: "unknown" }],
    [{ expires_at: "2027-13-01T00:00:00Z" }, { expiresAt: "unknown" }],
    [{ expires_at: 1_800_000_000 }, { expiresAt: "unknown" }],
    [{ label: "a", effective_budget: null }, { blockedBy: null }],
    [{ label: "a", effective_budget: { scope: "workspace", remaining_usd: 0.01 } }, { blockedBy: null }],
    [
      { label: "a", effective_budget: { scope: "workspace_default_member", remaining_usd: 0 } },
      { blockedBy: "workspace_default_member" },
    ],
    [{ label: "a", effective_budget: { scope: "key_limit", remaining_usd: -1 } }, { blockedBy: "key_limit" }],
    [{ label: "a", effective_budget: { scope: "\u001b[2J", remaining_usd: -1 } }, { blockedBy: "unknown" }],
    [{ label: "a", effective_budget: { scope: "workspace" } }, { blockedBy: undefined }],
  ])("reads %j as %j", (data, expected) => {
    expect(replies.acceptedKey({ data })).toMatchObject(expected);
  });
});

describe("the description of a key", () => {
  it("needs the hash, the name, and whether it is disabled", () => {
    expect(replies.describedKey({ data: ENTRY })).toMatchObject(ENTRY);
    for (const field of Object.keys(ENTRY)) {
      expect(replies.describedKey({ data: { ...ENTRY, [field]: undefined } })).toBeUndefined();
    }
  });

  it.each(["", "a/b", "..", "a b", "é", "x".repeat(129), KEY, 5])(
    "has a hash that can stand in a path, not %j",
    (hash) => {
      expect(replies.describedKey({ data: { ...ENTRY, hash } })).toBeUndefined();
    },
  );

  it("that cannot be read makes the whole page unreadable", () => {
    expect(replies.listedKeys({ data: [ENTRY, ENTRY] })).toHaveLength(2);
    expect(replies.listedKeys({ data: [ENTRY, { ...ENTRY, hash: null }] })).toBeUndefined();
    expect(replies.listedKeys({ data: [] })).toEqual([]);
    expect(replies.workspaceIds({ data: [{ id: "a" }, {}] })).toBeUndefined();
  });
});

describe("what is attached to keys", () => {
  const entry = { key_hash: ENTRY.hash, guardrail_id: "g-1" };
  const credential = { id: "c-1", allowed_api_key_hashes: [ENTRY.hash] };

  it("is read with its ids alone", () => {
    expect(replies.assignmentsIn({ data: [entry] })).toEqual([{ keyHash: ENTRY.hash, guardrail: "g-1" }]);
    expect(replies.allowListsIn({ data: [credential, { id: "c-2", allowed_api_key_hashes: null }] })).toEqual([
      { credential: "c-1", keys: [ENTRY.hash] },
      { credential: "c-2", keys: null },
    ]);
  });

  it.each([
    [{ ...entry, key_hash: null }],
    [{ ...entry, key_hash: "../keys" }],
    [{ ...entry, key_hash: KEY }],
    [{ ...entry, guardrail_id: undefined }],
    [{ ...entry, guardrail_id: "a/b" }],
    [{ ...entry, guardrail_id: KEY }],
    ["text"],
    [null],
  ])("makes the whole page unreadable with an assignment like %j", (bad) => {
    expect(replies.assignmentsIn({ data: [entry, bad] })).toBeUndefined();
  });

  it.each([
    [{ ...credential, id: 5 }],
    [{ ...credential, id: KEY }],
    [{ ...credential, allowed_api_key_hashes: undefined }],
    [{ ...credential, allowed_api_key_hashes: "all" }],
    [{ ...credential, allowed_api_key_hashes: [ENTRY.hash, null] }],
    [{ ...credential, allowed_api_key_hashes: [KEY] }],
    [[]],
  ])("is never read as unrestricted: a credential like %j makes the whole page unreadable", (bad) => {
    expect(replies.allowListsIn({ data: [credential, bad] })).toBeUndefined();
    expect(replies.allowListIn({ data: bad })).toBeUndefined();
  });

  it.each([[{ assigned_count: "1" }], [{ assigned_count: 1.5 }], [{ unassigned_count: 1 }], [{}], [null]])(
    "is not counted in %j",
    (json) => {
      expect(replies.isCount(json, "assigned_count")).toBe(false);
    },
  );
});

describe("a key that was made", () => {
  it("counts what the user's own provider keys spend as the reply says, or as asked", () => {
    const flags = [true, false, null].map((includeByokInLimit) =>
      [{ ...ENTRY, include_byok_in_limit: true }, ENTRY, {}].map(
        (data) =>
          replies.createdKey({ key: KEY, data }, keyRequest({ includeByokInLimit }))?.upstream.includeByokInLimit,
      ),
    );
    expect(flags).toEqual([
      [true, true, true],
      [true, false, false],
      [true, undefined, undefined],
    ]);
  });

  it("is never thrown away because its description is unreadable", () => {
    const request = keyRequest({ expiresAt: "2027-01-01T00:00:00.000Z" });
    expect(replies.createdKey({ key: KEY, error: { code: 500, message: "no" } }, request)?.key.reveal()).toBe(KEY);
    const expected = { hash: hashOf(KEY), name: request.name, limit: 5, disabled: false };
    for (const data of [undefined, null, [], {}, { hash: "../keys" }, { name: 5 }, { disabled: "no" }]) {
      const created = replies.createdKey({ key: KEY, data }, request);
      expect(created?.upstream).toMatchObject(expected);
      expect(created?.key.reveal()).toBe(KEY);
    }
  });

  it.each([[{ data: { key: KEY } }], [{ key: "" }], [{ key: "sk-or-v1-****" }], [{ key: 5 }], [{ data: ENTRY }]])(
    "is at the top, and nowhere else: %j",
    (json) => {
      expect(replies.createdKey(json, keyRequest())).toBeUndefined();
    },
  );
});

describe("what is said beside an error", () => {
  const ids = { id: "w", key_hash: ENTRY.hash, guardrail_id: "g", allowed_api_key_hashes: null };
  it.each(
    Object.keys(READERS).filter((name) => !["acceptedKey", "createdKey", "errorMessage", "errorCode"].includes(name)),
  )("is no answer of %s", (name) => {
    const data = { ...ENTRY, ...ids, label: "a", total_credits: 1, total_usage: 1, date: "2026-11-25", usage: 1 };
    const answers = [{ data, deleted: true, assigned_count: 1 }, { data: [data] }];
    const read = READERS[name];
    const isRead = (json: object) => read?.(json) !== undefined && read(json) !== false;
    expect(answers.map(isRead)).toContain(true);
    expect(answers.map((answer) => isRead({ ...answer, error: { code: 500, message: "no" } }))).toEqual([false, false]);
  });
});

describe("a day of activity", () => {
  it.each([
    [{ date: "2026-11-25", usage: 0.5, model: "a" }, [{ date: "2026-11-25", usage: 0.5 }]],
    [{ date: "2026-11-25 00:00:00", usage: 1 }, [{ date: "2026-11-25", usage: 1 }]],
    [{ date: "2026-11-25T00:00:00.000Z", usage: 1 }, [{ date: "2026-11-25", usage: 1 }]],
    [{ date: "2026-11-25T10:00:00Z", usage: 1 }, undefined],
    [{ date: "yesterday", usage: 1 }, undefined],
    [{ date: "2026-11-25", usage: "1" }, undefined],
    [{ date: "2026-11-25", usage: null }, undefined],
    [{ usage: 1 }, undefined],
  ])("%j: %j", (row, days) => {
    expect(replies.activityIn({ data: [row] })).toEqual(days);
  });
});

describe("the status that an error repeats", () => {
  it.each([
    [{ error: { code: 404, message: "Resource not found" } }, 404],
    [{ error: { code: 404, message: "Resource not found", metadata: {} }, user_id: "user_1" }, 404],
    [{ error: { code: "404", message: "Resource not found" } }, undefined],
    [{ error: { message: "No route matched" } }, undefined],
    [{ error: { code: 404 } }, undefined],
    [{ code: 404, message: "Not found" }, undefined],
    [{ message: "no Route matched with those values" }, undefined],
    [{ success: false, error: { name: "ZodError", message: "[]" } }, undefined],
  ])("%j: %j", (json, code) => {
    expect(replies.errorCode(json)).toBe(code);
  });
});

describe("an error", () => {
  it.each([
    [{ error: { code: 401, message: "User not found." }, user_id: "user_1" }, "User not found."],
    [{ error: { message: "no code" } }, "no code"],
    [
      { success: false, error: { name: "ZodError", message: '[{"path":["limit"],"message":"too small"}]' } },
      "limit: too small",
    ],
    [
      { success: false, error: { name: "ZodError", message: '[{"message":"a"},{"path":["b",0],"message":"c"}]' } },
      "a; b.0: c",
    ],
    [{ success: false, error: { name: "ZodError", message: "not JSON" } }, "not JSON"],
    [{ error: { message: "" } }, ""],
    [{ error: "text" }, undefined],
    [{ error: { message: 5 } }, undefined],
    [{ message: "text" }, undefined],
    [[], undefined],
  ])("%j says %j", (json, message) => {
    expect(replies.errorMessage(json, null)).toBe(message);
  });

  it("never says a key, an id or a token, and moves no cursor", () => {
    const secrets = [
      KEY,
      "user_2abcDEF",
      hashOf(KEY),
      "550e8400-e29b-41d4-a716-446655440000",
      "my-own-token",
      CANARIES["management key"],
    ];
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom(...secrets)), { maxLength: 8 }), (parts) => {
        const shown = serverMessage(parts.join(" "), "my-own-token");
        for (const secret of secrets) expect(shown).not.toContain(secret);
        expect(shown).not.toMatch(/[\p{Cc}\u202e\u200b]/u);
        expect(canariesIn({ shown })).toEqual([]);
      }),
    );
    expect(serverMessage("a\u001b[2J\u202eb\nc", null)).toBe("a\\u001b[2J\\u202eb c");
    expect(serverMessage("word ".repeat(100), null)).toHaveLength(201);
    expect(serverMessage(`bad key ${KEY}`, null)).not.toContain(KEY.slice(20, 40));
  });
});

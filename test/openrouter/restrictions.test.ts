import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import type { UpstreamKeys } from "../../src/core/ports/openrouter.ts";
import { hashOf, keyEnding } from "../support/fixtures/keys.ts";
import { clientOf, IMPATIENT, pagesOf } from "../support/openrouter/client.ts";
import type { TestClient } from "../support/openrouter/client.ts";
import { always, on } from "../support/openrouter/faults.ts";
import type { Fault } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { openRouterServer } from "../support/openrouter/server.ts";
import type { MockOptions, OpenRouterServer } from "../support/openrouter/server.ts";

const HASH = hashOf(keyEnding("0001"));
const OTHER = hashOf(keyEnding("0002"));

interface Stage extends TestClient {
  readonly server: OpenRouterServer;
  readonly guardrail: string;
  readonly credential: string;
}

/** Two keys, a guardrail that no key has, and a credential that only the first key may use. */
async function stage(options: MockOptions = {}, fault?: Fault): Promise<Stage> {
  const server = await mockOpenRouter(options);
  server.addKey(keyEnding("0001"));
  server.addKey(keyEnding("0002"));
  const guardrail = server.addGuardrail();
  const { id: credential } = server.addCredential({ allowedKeys: [HASH] });
  const hangs = fault === "hang" || fault === "hang-after";
  return { server, guardrail, credential, ...clientOf(server, hangs ? { deadlines: IMPATIENT } : {}) };
}

type Listing = (client: TestClient) => ReturnType<UpstreamKeys["guardrailAssignments"] | UpstreamKeys["allowLists"]>;

const LISTINGS = [
  ["GET /guardrails/assignments/keys", ({ upstream, budget }) => upstream.guardrailAssignments(budget)],
  ["GET /byok", ({ upstream, budget }) => upstream.allowLists([null], budget)],
] as const satisfies readonly (readonly [string, Listing])[];

describe("the guardrails of keys", () => {
  it("are listed once each, whatever the size of the pages", async () => {
    for (const pageSize of [1, 2, 3, 7, 100]) {
      const { server, guardrail, upstream, budget } = await stage({ pageSize });
      const hashes = Array.from({ length: 7 }, (_, index) => server.addKey(keyEnding(`a${index}`)).hash);
      for (const hash of hashes) server.assignGuardrail(guardrail, hash);
      const pages = await pagesOf(upstream.guardrailAssignments(budget));
      const listed = pages.flatMap((page) => (page.status === "listed" ? page.assignments : []));
      expect(listed).toEqual(hashes.toReversed().map((keyHash) => ({ keyHash, guardrail })));
    }
  });

  it("have a page of nothing where no key has one", async () => {
    const { server, upstream, budget } = await stage();
    expect(await pagesOf(upstream.guardrailAssignments(budget))).toEqual([]);
    expect(server.count()).toBe(1);
  });

  it("miss none that stays, whatever comes and goes while the list is read", async () => {
    const server = await openRouterServer({ pageSize: 4 });
    const { client, upstream, budget } = clientOf(server);
    const guardrail = server.addGuardrail();
    const add = (name: string) => server.assignGuardrail(guardrail, server.addKey(keyEnding(name)).hash);
    // A number removes an entry: the percentage of the list that follows it.
    const change = fc.oneof(fc.constant("add"), fc.integer({ min: 0, max: 99 }));
    const property = fc.asyncProperty(
      fc.integer({ min: 0, max: 20 }),
      fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 8 }),
      async (count, changes) => {
        for (const hash of server.keys.keys()) server.removeKey(hash);
        for (let index = 0; index < count; index += 1) add(`a${index}`);
        const staying = new Set(server.guardrails().keys());
        const apply = (next: string | number, name: string) => {
          if (next === "add") add(name);
          if (typeof next !== "number") return;
          const all = [...server.guardrails().keys()];
          const gone = all[Math.floor((next / 100) * all.length)] ?? "";
          staying.delete(gone);
          server.removeKey(gone);
        };
        server.behave(({ number }) => {
          for (const [index, next] of (changes[number - 2] ?? []).entries()) apply(next, `b${number}${index}`);
          return "pass";
        });
        const pages = await pagesOf(upstream.guardrailAssignments(budget));
        const listed = pages.flatMap((page) =>
          page.status === "listed" ? page.assignments.map(({ keyHash }) => keyHash) : [page.status],
        );
        expect(new Set(listed).size).toBe(listed.length);
        // A list of less than two pages is too short to tell its growth from a server that ignores our offset.
        if (listed.at(-1) === "unknown") return expect(count).toBeLessThan(8);
        expect([...staying].filter((hash) => !listed.includes(hash))).toEqual([]);
      },
    );
    try {
      await fc.assert(property, { numRuns: 200 });
    } finally {
      await client.close();
      await server.close();
    }
  });
});

describe("the allow-lists of credentials", () => {
  it("are those of the named workspaces, each credential once", async () => {
    const { server, credential, upstream, budget } = await stage({ pageSize: 2 });
    const workspace = server.addWorkspace("Production");
    const { id: open } = server.addCredential();
    const { id: there } = server.addCredential({ workspace, allowedKeys: [OTHER, HASH] });
    const listed = async (...workspaces: (string | null)[]) =>
      (await pagesOf(upstream.allowLists(workspaces, budget))).flatMap((page) =>
        page.status === "listed" ? page.lists : [],
      );
    const here = [
      { credential, keys: [HASH] },
      { credential: open, keys: null },
    ];
    expect(await listed(null, server.defaultWorkspace)).toEqual(here);
    expect(await listed(workspace)).toEqual([{ credential: there, keys: [OTHER, HASH] }]);
    expect(await listed(null, workspace)).toHaveLength(3);
    expect(await listed()).toEqual([]);
  });
});

describe.each(LISTINGS)("the list of %s", (route, list) => {
  it.each([{ status: 403 }, { status: 404 }] as const)("is hidden after %j", async (fault) => {
    const made = await stage();
    made.server.behave(always(route, fault));
    expect(await pagesOf<unknown>(list(made))).toEqual([{ status: "hidden" }]);
    expect(made.server.count()).toBe(1);
  });

  it.each([
    "no-route",
    "no-route-error",
    "html",
    "redirect",
    "other-shape",
    "wrong-content-type",
    "endless-body",
    { status: 400 },
    { status: 404, body: "html" },
    { status: 404, body: "zod" },
    { status: 403, body: "html" },
    { status: 500 },
    { status: 429 },
    "reset-before",
    "cut-body",
  ] as const satisfies readonly Fault[])("is unknown after %j, and ends there", async (fault) => {
    const made = await stage();
    made.server.behave(always(route, fault));
    expect(await pagesOf<unknown>(list(made))).toMatchObject([{ status: "unknown" }]);
  });

  it.each(["reset-after", "cut-body", "hang", { status: 503 }, { status: 429 }] as const satisfies readonly Fault[])(
    "is asked for again after %j",
    async (fault) => {
      const made = await stage({}, fault);
      made.server.assignGuardrail(made.guardrail, HASH);
      made.server.behave(on(route, fault));
      expect(await pagesOf<unknown>(list(made))).toMatchObject([{ status: "listed" }]);
    },
  );

  it("goes on to the page that failed, and ends as unknown or hidden there", async () => {
    for (const [status, end] of [
      [500, "unknown"],
      [403, "hidden"],
    ] as const) {
      const made = await stage({ pageSize: 2 });
      for (const index of [1, 2, 3]) {
        made.server.assignGuardrail(made.guardrail, made.server.addKey(keyEnding(`a${index}`)).hash);
        made.server.addCredential();
      }
      made.server.behave(({ number }) => (number === 1 ? "pass" : { status }));
      expect(await pagesOf<unknown>(list(made))).toMatchObject([{ status: "listed" }, { status: end }]);
    }
  });

  it("is refused with the management key itself", async () => {
    const made = await stage();
    made.server.behave(always(route, { status: 401 }));
    await expect(pagesOf<unknown>(list(made))).rejects.toMatchObject({ code: "MANAGEMENT_KEY_REFUSED" });
  });

  it("is unknown when the server does not count as we do", async () => {
    const made = await stage({ ignoresOffset: true });
    for (const hash of [HASH, OTHER]) made.server.assignGuardrail(made.guardrail, hash);
    made.server.addCredential();
    expect(await pagesOf<unknown>(list(made))).toMatchObject([
      { status: "listed" },
      { status: "unknown", detail: "sends a list that does not end" },
    ]);
  });

  it("is unknown when the server always has more", async () => {
    const url = await serverWithoutEnd();
    const pages = await pagesOf<{ status: string }>(list(clientOf({ url, managementKey: "sk-or-v1-of-a-test" })));
    expect(new Set(pages.map(({ status }) => status))).toEqual(new Set(["listed", "unknown"]));
    expect(pages.at(-1)).toMatchObject({ status: "unknown", detail: "sends a list that does not end" });
  });
});

/** Two entries on each page, for ever. */
async function serverWithoutEnd(): Promise<string> {
  const server = createServer(({ url = "" }, response) => {
    const offset = Number(new URL(url, "http://mock.invalid").searchParams.get("offset"));
    const entries = [offset, offset + 1].map((index) => ({ id: `e-${index}`, guardrail_id: `e-${index}` }));
    response.writeHead(200, { "content-type": "application/json" });
    const data = entries.map((entry) => ({ ...entry, key_hash: HASH, allowed_api_key_hashes: null }));
    response.end(JSON.stringify({ data }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  // The address has a port, because the server listens on TCP.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1`;
}

const ATTACHMENTS = [
  [
    "POST /guardrails/{id}/assignments/keys",
    ({ upstream, guardrail, budget }: Stage) => upstream.assignGuardrail(guardrail, HASH, budget()),
    ({ server, guardrail }: Stage) => server.guardrails().get(HASH) === guardrail,
  ],
  [
    "POST /guardrails/{id}/assignments/keys/remove",
    ({ upstream, guardrail, budget }: Stage) => upstream.unassignGuardrail(guardrail, HASH, budget()),
    ({ server }: Stage) => !server.guardrails().has(HASH),
  ],
  [
    "PATCH /byok/{id}",
    ({ upstream, credential, budget }: Stage) => upstream.setAllowedKeys(credential, [OTHER, HASH], budget()),
    ({ server, credential }: Stage) => server.credentials.get(credential)?.allowedKeys?.includes(OTHER) === true,
  ],
] as const;

describe.each(ATTACHMENTS)("a change by %s", (route, change, isDone) => {
  it("is done, and done again", async () => {
    const made = await stage();
    if (route.endsWith("/remove")) made.server.assignGuardrail(made.guardrail, HASH);
    expect([await change(made), isDone(made), await change(made), isDone(made)]).toEqual([
      { status: "done" },
      true,
      { status: "done" },
      true,
    ]);
  });

  it.each([
    "reset-before",
    "reset-after",
    "cut-body",
    "hang-after",
    { status: 503, obeyed: true },
    { status: 429 },
  ] as const)("is sent again after %j, until it is done", async (fault) => {
    const made = await stage({}, fault);
    made.server.behave(on(route, fault));
    expect([await change(made), isDone(made), made.server.count()]).toEqual([{ status: "done" }, true, 2]);
  });

  it.each([400, 403, 409, 413, 422])("is refused with %i, and not sent again", async (status) => {
    const made = await stage();
    made.server.behave(always(route, { status, message: "No." }));
    expect(await change(made)).toEqual({ status: "refused", httpStatus: status, detail: `answered ${status}: No.` });
    expect(made.server.count()).toBe(1);
  });

  it("is refused in the words of Zod too", async () => {
    const made = await stage();
    made.server.behave(always(route, "zod-error"));
    expect(await change(made)).toMatchObject({ status: "refused", detail: "answered 400: name: Invalid input" });
  });

  it("is of something that is gone only in OpenRouter's own words", async () => {
    const made = await stage();
    const said = [];
    for (const fault of [
      { status: 404 },
      { status: 404, body: "zod" },
      { status: 404, body: "html" },
      "no-route",
      "no-route-error",
    ] as const) {
      made.server.behave(always(route, fault));
      said.push((await change(made)).status);
    }
    expect(said).toEqual(["gone", "unknown", "unknown", "unknown", "unknown"]);
  });

  it.each([
    "other-shape",
    "html",
    "redirect",
    "wrong-content-type",
    "not-deleted",
    { status: 402 },
    { status: 403, body: "html" },
  ] as const satisfies readonly Fault[])("is not known to be done after %j", async (fault) => {
    const made = await stage();
    made.server.behave(always(route, fault));
    expect(await change(made)).toMatchObject({ status: "unknown" });
    expect(made.server.count()).toBe(1);
  });

  it.each(["reset-after", "not-json", { status: 500 }, { status: 429 }] as const satisfies readonly Fault[])(
    "is unknown when every answer is %j",
    async (fault) => {
      const made = await stage();
      made.server.behave(always(route, fault));
      expect(await change(made)).toMatchObject({ status: "unknown", attempts: 6 });
    },
  );

  it("is refused with the management key itself", async () => {
    const made = await stage();
    made.server.behave(always(route, { status: 401 }));
    await expect(change(made)).rejects.toMatchObject({ code: "MANAGEMENT_KEY_REFUSED" });
  });
});

describe("an allow-list", () => {
  it("is refused with a key that is gone, or with more keys than there is room for", async () => {
    const { server, credential, upstream, budget } = await stage();
    const hashes = Array.from({ length: 101 }, (_, index) => server.addKey(keyEnding(`a${index}`)).hash);
    server.removeKey(OTHER);
    for (const list of [[HASH, OTHER], hashes]) {
      const result = await upstream.setAllowedKeys(credential, list, budget());
      expect(result).toMatchObject({ status: "refused", httpStatus: 400 });
    }
    expect(server.credentials.get(credential)?.allowedKeys).toEqual([HASH]);
  });

  it("is not done when the reply shows another list", async () => {
    const { server, credential, upstream, budget } = await stage();
    const entry = server.credentials.get(credential);
    if (entry === undefined) throw new Error("the credential is missing");
    Object.defineProperty(entry, "allowedKeys", { get: () => [HASH], set: () => {} });
    expect(await upstream.setAllowedKeys(credential, [HASH, OTHER], budget())).toMatchObject({ status: "unknown" });
    expect(await upstream.setAllowedKeys(credential, [HASH, HASH], budget())).toEqual({ status: "done" });
  });
});

describe("an id", () => {
  it("cannot leave its place in a path", async () => {
    const { server, upstream, budget } = await stage();
    const id = "../keys?a=b#c";
    await upstream.assignGuardrail(id, HASH, budget());
    await upstream.unassignGuardrail(id, HASH, budget());
    await upstream.setAllowedKeys(id, [HASH], budget());
    await pagesOf(upstream.allowLists([id], budget));
    const encoded = "..%2Fkeys%3Fa%3Db%23c";
    expect(server.requests.map(({ path }) => path)).toEqual([
      `/guardrails/${encoded}/assignments/keys`,
      `/guardrails/${encoded}/assignments/keys/remove`,
      `/byok/${encoded}`,
      `/byok?limit=50&workspace_id=${encoded}&offset=0`,
    ]);
  });
});

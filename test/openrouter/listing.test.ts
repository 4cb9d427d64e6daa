import { describe, expect, it } from "vitest";
import type { Scope } from "../../src/core/ports/openrouter.ts";
import { keyEnding } from "../support/fixtures/keys.ts";
import { clientOf, pagesOf } from "../support/openrouter/client.ts";
import { always, on } from "../support/openrouter/faults.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

const EVERYWHERE: Scope = { kind: "everywhere" };

/** Two workspaces, five keys in each, one of them disabled. */
async function inhabited(): Promise<OpenRouterServer> {
  const server = await mockOpenRouter({ pageSize: 2 });
  const workspace = server.addWorkspace("Production");
  for (const index of [0, 1, 2, 3, 4]) {
    server.addKey(keyEnding(`a00${index}`), { name: `default ${index}`, disabled: index === 2 });
    server.addKey(keyEnding(`b00${index}`), { name: `production ${index}`, workspace });
  }
  return server;
}

function newestFirst(name: string): readonly string[] {
  return [4, 3, 2, 1, 0].map((index) => `${name} ${index}`);
}

async function namesIn(server: OpenRouterServer, scope: Scope) {
  const { upstream, budget } = clientOf(server);
  const pages = await pagesOf(upstream.list(scope, budget));
  return pages.flatMap((page) => (page.status === "listed" ? page.keys.map(({ name }) => name) : [page.reason]));
}

describe("the list of keys", () => {
  it("has every key of every workspace once, disabled ones too", async () => {
    const server = await inhabited();
    const names = await namesIn(server, EVERYWHERE);
    expect(names).toHaveLength(10);
    expect(new Set(names)).toEqual(new Set(Array.from(server.keys.values(), ({ name }) => name)));
  });

  it("costs one request beside the pages, the empty ones and the workspaces", async () => {
    const server = await inhabited();
    await namesIn(server, EVERYWHERE);
    expect([server.count("GET /workspaces"), server.count("GET /keys")]).toEqual([2, 2 * (3 + 1) + 1]);
  });

  it("of one workspace, or of the default one, is only that, new keys first", async () => {
    const server = await inhabited();
    const [other = ""] = Array.from(server.keys.values(), ({ workspace }) => workspace).filter(
      (workspace) => workspace !== server.defaultWorkspace,
    );
    expect(await namesIn(server, { kind: "workspace", workspace: other })).toEqual(newestFirst("production"));
    expect(await namesIn(server, { kind: "workspace", workspace: null })).toEqual(newestFirst("default"));
    expect(server.count("GET /workspaces")).toBe(0);
  });

  it("goes on when keys are made while it is read, and has none of them twice", async () => {
    const server = await inhabited();
    let made = 0;
    server.behave(({ route }) => {
      if (route === "GET /keys" && made < 6) server.addKey(keyEnding(`c00${(made += 1)}`), { name: `late ${made}` });
      return "pass";
    });
    const names = await namesIn(server, { kind: "workspace", workspace: null });
    expect(names).toHaveLength(new Set(names).size);
    expect(names.filter((name) => name.startsWith("default"))).toHaveLength(5);
  });

  it("ends as unknown after a page that failed, and goes on after one that was sent again", async () => {
    const server = await inhabited();
    server.behave(on("GET /keys", "pass", { status: 503 }, "pass", "redirect"));
    const names = await namesIn(server, EVERYWHERE);
    expect(names).toEqual(["default 4", "default 3", "default 2", "default 1", "provider_error"]);
  });

  it.each(["GET /workspaces", "GET /keys"] as const)("is unknown when %s answers in another shape", async (route) => {
    const server = await inhabited();
    server.behave(always(route, "other-shape"));
    expect(await namesIn(server, EVERYWHERE)).toEqual(["provider_error"]);
  });

  it("is unknown when the server does not count as we do, instead of endless", async () => {
    const server = await mockOpenRouter({ ignoresOffset: true });
    server.addKey(keyEnding("a001"), { name: "only" });
    expect(await namesIn(server, { kind: "workspace", workspace: null })).toEqual(["only", "provider_error"]);
  });

  it("asks for a budget for each page", async () => {
    const server = await inhabited();
    const { upstream, budget } = clientOf(server);
    let asked = 0;
    await pagesOf(
      upstream.list(EVERYWHERE, () => {
        asked += 1;
        return budget();
      }),
    );
    expect(asked).toBe(server.count());
  });

  it("can be left before its end", async () => {
    const server = await inhabited();
    const { upstream, budget } = clientOf(server);
    for await (const page of upstream.list({ kind: "workspace", workspace: null }, budget)) {
      expect(page.status).toBe("listed");
      break;
    }
    expect(server.count()).toBe(1);
  });
});

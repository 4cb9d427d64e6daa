import { describe, expect, it } from "vitest";
import { hashOf, keyEnding } from "../fixtures/keys.ts";
import { ask } from "./ask.ts";
import { mockOpenRouter } from "./of-test.ts";
import type { OpenRouterServer } from "./server.ts";

const HASH = hashOf(keyEnding("0001"));
const OTHER = hashOf(keyEnding("0002"));
const ASSIGNMENTS = "/guardrails/assignments/keys";

async function withTwoKeys(pageSize = 100): Promise<OpenRouterServer> {
  const server = await mockOpenRouter({ pageSize });
  server.addKey(keyEnding("0001"));
  server.addKey(keyEnding("0002"));
  return server;
}

function manage(server: OpenRouterServer, method: string, path: string, body?: unknown) {
  return ask(server, method, path, server.managementKey, body);
}

describe("a guardrail of the mock server", () => {
  it("is given to a key, replaces the one that the key had, and is taken away", async () => {
    const server = await withTwoKeys();
    const [first, second] = [server.addGuardrail(), server.addGuardrail()];
    const keys = { key_hashes: [HASH, OTHER] };
    const added = await manage(server, "POST", `/guardrails/${first}/assignments/keys`, keys);
    expect(added.json).toEqual({ assigned_count: 2 });
    await manage(server, "POST", `/guardrails/${second}/assignments/keys`, { key_hashes: [HASH] });
    expect([...server.guardrails()]).toEqual([
      [OTHER, first],
      [HASH, second],
    ]);
    const removed = await manage(server, "POST", `/guardrails/${first}/assignments/keys/remove`, keys);
    expect([removed.json, [...server.guardrails()]]).toEqual([{ unassigned_count: 1 }, [[HASH, second]]]);
  });

  it("is listed by pages, and goes with the key that is deleted", async () => {
    const server = await withTwoKeys(1);
    const guardrail = server.addGuardrail();
    for (const hash of [HASH, OTHER]) server.assignGuardrail(guardrail, hash);
    const hashes = async (query: string) =>
      ((await manage(server, "GET", ASSIGNMENTS + query)).json["data"] as { key_hash: string }[]).map(
        ({ key_hash }) => key_hash,
      );
    expect([await hashes(""), await hashes("?offset=1&limit=100"), await hashes("?offset=2")]).toEqual([
      [OTHER],
      [HASH],
      [],
    ]);
    await manage(server, "DELETE", `/keys/${OTHER}`);
    expect([await hashes(""), await hashes("?offset=1")]).toEqual([[HASH], []]);
  });

  it("counts only keys that exist", async () => {
    const server = await withTwoKeys();
    const path = `/guardrails/${server.addGuardrail()}/assignments/keys`;
    const { status, json } = await manage(server, "POST", path, { key_hashes: [hashOf("nobody"), HASH] });
    expect([status, json]).toEqual([200, { assigned_count: 1 }]);
  });

  it.each([[{}], [{ key_hashes: [] }], [{ key_hashes: HASH }], [{ key_hashes: [1] }]])("refuses %j", async (body) => {
    const server = await withTwoKeys();
    const path = `/guardrails/${server.addGuardrail()}/assignments/keys`;
    expect([(await manage(server, "POST", path, body)).status, server.guardrails().size]).toEqual([400, 0]);
  });

  it("is missing for another account, and its keys are", async () => {
    const server = await withTwoKeys();
    const other = server.addAccount();
    const guardrail = server.addGuardrail();
    server.assignGuardrail(guardrail, HASH);
    const path = `/guardrails/${guardrail}/assignments/keys`;
    expect((await ask(server, "POST", path, other.managementKey, { key_hashes: [HASH] })).status).toBe(404);
    expect((await ask(server, "GET", ASSIGNMENTS, other.managementKey)).json["data"]).toEqual([]);
    const theirs = `/guardrails/${server.addGuardrail(other)}/assignments/keys`;
    const taken = await ask(server, "POST", theirs, other.managementKey, { key_hashes: [HASH] });
    expect(taken.json).toEqual({ assigned_count: 0 });
  });
});

describe("a provider credential of the mock server", () => {
  it("is listed in its workspace, and by default in the default one", async () => {
    const server = await withTwoKeys();
    const workspace = server.addWorkspace("Production");
    const [here, there] = [server.addCredential(), server.addCredential({ workspace, allowedKeys: [HASH] })];
    const listed = async (query: string, token = server.managementKey) =>
      (await ask(server, "GET", `/byok${query}`, token)).json["data"] as object[];
    expect(await listed("")).toMatchObject([{ id: here.id, allowed_api_key_hashes: null }]);
    expect(await listed(`?workspace_id=${workspace}`)).toMatchObject([
      { id: there.id, workspace_id: workspace, allowed_api_key_hashes: [HASH] },
    ]);
    const other = server.addAccount();
    expect([
      ...(await listed("", other.managementKey)),
      ...(await listed(`?workspace_id=${workspace}`, other.managementKey)),
    ]).toEqual([]);
  });

  it("takes a whole list of live keys, or null, which clears it", async () => {
    const server = await withTwoKeys();
    const credential = server.addCredential();
    const patch = (allowed_api_key_hashes: unknown) =>
      manage(server, "PATCH", `/byok/${credential.id}`, { allowed_api_key_hashes });
    const lists = [];
    for (const list of [[HASH], [OTHER, HASH, HASH], null]) {
      const { status, json } = await patch(list);
      lists.push([status, json["data"].allowed_api_key_hashes, credential.allowedKeys]);
    }
    expect(lists).toEqual([
      [200, [HASH], [HASH]],
      [200, [OTHER, HASH], [OTHER, HASH]],
      [200, null, null],
    ]);
  });

  it("keeps the hash of a deleted key, and then refuses a list with it", async () => {
    const server = await withTwoKeys();
    const credential = server.addCredential({ allowedKeys: [HASH, OTHER] });
    server.removeKey(OTHER);
    const patch = (list: readonly string[]) =>
      manage(server, "PATCH", `/byok/${credential.id}`, { allowed_api_key_hashes: list });
    expect([(await patch([OTHER, HASH])).status, credential.allowedKeys]).toEqual([400, [HASH, OTHER]]);
    expect([(await patch([HASH])).status, credential.allowedKeys]).toEqual([200, [HASH]]);
  });

  it("has room for 100 keys", async () => {
    const server = await withTwoKeys();
    const credential = server.addCredential();
    const hashes = Array.from({ length: 101 }, (_, index) => server.addKey(keyEnding(`c${index}`)).hash);
    const patch = (list: readonly string[]) =>
      manage(server, "PATCH", `/byok/${credential.id}`, { allowed_api_key_hashes: list });
    expect([(await patch(hashes)).status, credential.allowedKeys]).toEqual([400, null]);
    expect([(await patch(hashes.slice(1))).status, credential.allowedKeys]).toEqual([200, hashes.slice(1)]);
  });

  it.each([[[]], ["all"], [[1]], [[hashOf("nobody")]]])("refuses the list %j", async (list) => {
    const server = await withTwoKeys();
    const credential = server.addCredential({ allowedKeys: [HASH] });
    const { status } = await manage(server, "PATCH", `/byok/${credential.id}`, { allowed_api_key_hashes: list });
    expect([status, credential.allowedKeys]).toEqual([400, [HASH]]);
  });

  it("is missing for another account", async () => {
    const server = await withTwoKeys();
    const { id } = server.addCredential();
    const token = server.addAccount().managementKey;
    expect((await ask(server, "PATCH", `/byok/${id}`, token, { allowed_api_key_hashes: null })).status).toBe(404);
  });
});

import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { hasOpenssl, selfSigned } from "../support/fixtures/certificate.ts";
import { CANARIES, canariesIn } from "../support/fixtures/leak-canaries.ts";
import { connectProxy } from "../support/fixtures/connect-proxy.ts";
import { keyEnding } from "../support/fixtures/keys.ts";
import { apiKey, clientOf, IMPATIENT, keyRequest } from "../support/openrouter/client.ts";
import { askEverything } from "../support/openrouter/process.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

const KEY = keyEnding("0001");
const ELSEWHERE = { url: "https://openrouter.invalid/api/v1", managementKey: CANARIES["management key"] };

function portOf(url: string): number {
  return Number(new URL(url).port);
}

describe.skipIf(!hasOpenssl)("a server with a certificate that is trusted, behind a proxy", () => {
  it("is asked through a tunnel, with the proxy's own password, and the keys stay inside of it", async () => {
    const files = selfSigned("DNS:openrouter.invalid");
    const tls = { cert: readFileSync(files.certificate, "utf8"), key: readFileSync(files.key, "utf8") };
    const server = await mockOpenRouter({ tls, managementKey: CANARIES["management key"] });
    server.addKey(CANARIES.key);
    const proxy = await connectProxy(portOf(server.url));
    const { statuses, stdout, stderr } = await askEverything(ELSEWHERE.url, {
      NODE_EXTRA_CA_CERTS: files.certificate,
      HTTPS_PROXY: `http://somebody:secret@127.0.0.1:${proxy.port}`,
    });
    expect(statuses).toEqual({
      checkKey: "accepted",
      checkManagementKey: "accepted",
      reach: "reached",
      create: "created",
      find: "found",
      disable: "done",
      list: "iterated",
      setLimit: "done",
      guardrailAssignments: "iterated",
      assignGuardrail: "gone",
      unassignGuardrail: "gone",
      allowLists: "iterated",
      setAllowedKeys: "gone",
      remove: "done",
      activity: "known",
      credits: "known",
    });
    expect(proxy.others()).toBe(0);
    const authorization = `Basic ${Buffer.from("somebody:secret").toString("base64")}`;
    for (const tunnel of proxy.tunnels) expect(tunnel).toEqual({ to: "openrouter.invalid:443", authorization });
    expect(proxy.tunnels.length).toBeGreaterThan(0);
    expect(canariesIn({ stdout, stderr })).toEqual([]);
  });
});

describe("a proxy", () => {
  it("is never used for this machine", async () => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    const proxy = await connectProxy(portOf(server.url));
    const url = `http://127.0.0.1:${proxy.port}`;
    const environment = { HTTP_PROXY: url, http_proxy: url, HTTPS_PROXY: url, https_proxy: url };
    const { client, upstream, budget } = clientOf(server, { environment });
    expect(await client.checkKey(apiKey(KEY), budget())).toMatchObject({ status: "accepted" });
    expect(await upstream.create(keyRequest(), budget())).toMatchObject({ status: "created" });
    expect([proxy.tunnels, proxy.others()]).toEqual([[], 0]);
  });

  it.each([
    ["HTTPS_PROXY", {}, 1],
    ["https_proxy", {}, 1],
    ["HTTP_PROXY", {}, 1],
    ["HTTPS_PROXY", { NO_PROXY: "other.invalid" }, 1],
    ["HTTPS_PROXY", { NO_PROXY: "openrouter.invalid" }, 0],
    ["HTTPS_PROXY", { no_proxy: ".invalid" }, 0],
    ["HTTPS_PROXY", { no_proxy: "*" }, 0],
  ])("is taken from %s, beside %j, for so many of one request: %i", async (variable, others, count) => {
    const proxy = await connectProxy(0, 502);
    const environment = { [variable]: `http://127.0.0.1:${proxy.port}`, ...others };
    const { client, budget } = clientOf(ELSEWHERE, { environment });
    expect(await client.reach(budget())).toMatchObject({ status: "unknown", reason: "unreachable", attempts: 1 });
    expect(proxy.tunnels).toHaveLength(count);
  });

  it("that is not in the given environment is not looked for in the process's own", async () => {
    const proxy = await connectProxy(0, 502);
    const before = process.env["HTTPS_PROXY"];
    process.env["HTTPS_PROXY"] = `http://127.0.0.1:${proxy.port}`;
    try {
      const { client, budget } = clientOf(ELSEWHERE);
      expect(await client.reach(budget())).toMatchObject({ status: "unknown" });
      expect(proxy.tunnels).toEqual([]);
    } finally {
      if (before === undefined) delete process.env["HTTPS_PROXY"];
      else process.env["HTTPS_PROXY"] = before;
    }
  });

  it.each([
    [
      "answers 407",
      407,
      "answered 407",
      "put the user name and the password into it: HTTPS_PROXY=http://<user>:<password>@",
    ],
    ["answers 403", 403, "answered 403", "ask who runs the proxy for a way to OpenRouter"],
    [
      "answers 404",
      404,
      "answered 404",
      "check HTTPS_PROXY: the host, the port, and whether it is http:// or https://",
    ],
    ["is none", "garbage", "does not answer as a proxy does", "check HTTPS_PROXY: the host, the port"],
  ] as const)("that %s is asked once, and a creation was not sent", async (_, answer, problem, hint) => {
    const proxy = await connectProxy(0, answer);
    const { client, upstream, waits, budget } = through(`http://127.0.0.1:${proxy.port}`);
    const detail = `could not be reached: the proxy 127.0.0.1:${proxy.port} (from HTTPS_PROXY) ${problem}`;
    const remedy = { hint: expect.stringContaining(hint) as string, isRequired: true };
    const failed = { reason: "unreachable", detail, remedy };
    expect(await upstream.create(keyRequest(), budget())).toEqual({ ...failed, status: "never-sent" });
    expect(await client.checkKey(apiKey(KEY), budget())).toEqual({
      ...failed,
      status: "unknown",
      httpStatus: null,
      attempts: 1,
    });
    expect([proxy.tunnels.length, waits]).toEqual([2, []]);
  });

  it("that refuses a password says so", async () => {
    const proxy = await connectProxy(0, 407);
    const { client, budget } = through(`http://me:pa55word@127.0.0.1:${proxy.port}`);
    expect(await client.checkKey(apiKey(KEY), budget())).toMatchObject({
      detail: `could not be reached: the proxy 127.0.0.1:${proxy.port} (from HTTPS_PROXY) answered 407`,
      remedy: { hint: expect.stringContaining("check the user name and the password in HTTPS_PROXY") as string },
    });
  });

  it.each([
    ["answers 502", 502, "answered 502", "run the command again; if it stays so, ask who runs the proxy"],
    ["answers 429", 429, "answered 429", "run the command again; if it stays so, ask who runs the proxy"],
    [
      "hangs up",
      "hang-up",
      "closed the connection (UND_ERR_SOCKET)",
      "check that the proxy runs, and whether HTTPS_PROXY",
    ],
  ] as const)("that %s is asked again, and a creation was not sent", async (_, answer, problem, hint) => {
    const proxy = await connectProxy(0, answer);
    const { upstream, waits, budget } = through(`http://127.0.0.1:${proxy.port}`);
    expect(await upstream.create(keyRequest(), budget())).toEqual({
      status: "never-sent",
      reason: "unreachable",
      detail: `could not be reached: the proxy 127.0.0.1:${proxy.port} (from HTTPS_PROXY) ${problem}`,
      remedy: { hint: expect.stringContaining(hint) as string, isRequired: false },
    });
    expect([proxy.tunnels.length, waits.length]).toEqual([6, 5]);
  });

  it.each([
    ["http://127.0.0.1:9", "the proxy 127.0.0.1:9 (from HTTPS_PROXY) refused the connection (ECONNREFUSED)"],
    ["http://u:pa55word@127.0.0.1:9", "the proxy 127.0.0.1:9 (from HTTPS_PROXY) refused the connection (ECONNREFUSED)"],
    ["https://127.0.0.1:9", "the proxy 127.0.0.1:9 (from HTTPS_PROXY) refused the connection (ECONNREFUSED)"],
    ["127.0.0.1:9", "the proxy 127.0.0.1:9 (from HTTPS_PROXY) refused the connection (ECONNREFUSED)"],
    ["http://proxy.invalid", "the proxy proxy.invalid:80 (from HTTPS_PROXY) is on a host that cannot be found"],
  ])("that is dead is the hop that failed, and asked again: %s", async (url, problem) => {
    const { client, waits, budget } = through(url);
    const check = await client.checkKey(apiKey(KEY), budget());
    expect(check).toMatchObject({
      status: "unknown",
      reason: "unreachable",
      detail: expect.stringContaining(`could not be reached: ${problem}`) as string,
      remedy: {
        hint: expect.stringContaining("check HTTPS_PROXY, and that the proxy runs") as string,
        isRequired: false,
      },
    });
    expect(waits).toHaveLength(5);
    expect(inspect(check)).not.toContain("pa55word");
  });

  it("that says nothing is given up, and a creation was not sent", async () => {
    const proxy = await connectProxy(0, "silence");
    const { client, upstream, budget } = through(`http://127.0.0.1:${proxy.port}`, { deadlines: IMPATIENT });
    const detail = `could not be reached through the proxy 127.0.0.1:${proxy.port} (from HTTPS_PROXY) in time`;
    expect(await upstream.create(keyRequest(), budget())).toMatchObject({ status: "never-sent", detail });
    expect(await client.checkKey(apiKey(KEY), budget(1_000))).toMatchObject({ status: "unknown" });
  });

  it("that says nothing is named before the time of the attempt is over", async () => {
    const proxy = await connectProxy(0, "silence");
    const deadlines = { ...IMPATIENT, attempt: 10_000, creation: 10_000 };
    const { client, budget } = through(`http://127.0.0.1:${proxy.port}`, { deadlines });
    expect(await client.reach(budget())).toMatchObject({
      detail: `could not be reached: the proxy 127.0.0.1:${proxy.port} (from HTTPS_PROXY) does not answer`,
    });
  });

  it("is not blamed for what comes after its tunnel", async () => {
    const server = await mockOpenRouter();
    const proxy = await connectProxy(portOf(server.url));
    const { client, budget } = through(`http://127.0.0.1:${proxy.port}`);
    expect(await client.reach(budget())).toMatchObject({
      detail: expect.stringMatching(
        new RegExp(
          `^could not be reached through the proxy 127.0.0.1:${proxy.port} \\(from HTTPS_PROXY\\) \\(\\w+\\)$`,
        ),
      ) as string,
    });
  });
});

/** A client that asks a server that there is only behind a proxy. */
function through(url: string, differences: Parameters<typeof clientOf>[1] = {}) {
  return clientOf(ELSEWHERE, { environment: { HTTPS_PROXY: url }, ...differences });
}

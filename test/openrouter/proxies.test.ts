import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { hasOpenssl, selfSigned } from "../support/certificate.ts";
import { CANARIES, canariesIn } from "../support/canaries.ts";
import { connectProxy } from "../support/connect-proxy.ts";
import { keyEnding } from "../support/keys.ts";
import { apiKey, clientOf, IMPATIENT, keyRequest } from "../support/openrouter-client.ts";
import { askEverything } from "../support/openrouter-process.ts";
import { standIn } from "../support/openrouter.ts";

const KEY = keyEnding("0001");
const ELSEWHERE = { url: "https://openrouter.invalid/api/v1", managementKey: CANARIES["management key"] };

function portOf(url: string): number {
  return Number(new URL(url).port);
}

describe.skipIf(!hasOpenssl)("a server with a certificate that is trusted, behind a proxy", () => {
  it("is asked through a tunnel, with the proxy's own password, and the keys stay inside of it", async () => {
    const files = selfSigned("DNS:openrouter.invalid");
    const tls = { cert: readFileSync(files.certificate, "utf8"), key: readFileSync(files.key, "utf8") };
    const server = await standIn({ tls, managementKey: CANARIES["management key"] });
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
      remove: "done",
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
    const server = await standIn();
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
    [407, "could not be reached: the proxy answered 407"],
    [502, "could not be reached: the proxy answered 502"],
  ])("that answers %i let nothing through: a creation was not sent", async (status, detail) => {
    const proxy = await connectProxy(0, status);
    const { upstream, waits, budget } = clientOf(ELSEWHERE, {
      environment: { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` },
    });
    const creation = await upstream.create(keyRequest(), budget());
    expect(creation).toEqual({ status: "never-sent", reason: "unreachable", detail });
    expect([proxy.tunnels.length, waits.length]).toEqual([6, 5]);
  });

  it("that says nothing is given up, and a creation was not sent", async () => {
    const proxy = await connectProxy(0, "silence");
    const { client, upstream, budget } = clientOf(ELSEWHERE, {
      environment: { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` },
      deadlines: IMPATIENT,
    });
    const creation = await upstream.create(keyRequest(), budget());
    expect(creation).toMatchObject({ status: "never-sent", detail: "could not be reached in time" });
    expect(await client.checkKey(apiKey(KEY), budget(1_000))).toMatchObject({ status: "unknown" });
  });

  it.each(["127.0.0.1:3128 with a pa55word", "http://u:pa55word@[", "ftp://u:pa55word@host", "http://u:%pa55word@h"])(
    "that is %s is a mistake in the configuration, and not repeated",
    async (url) => {
      const { client, upstream, budget } = clientOf(ELSEWHERE, { environment: { HTTPS_PROXY: url } });
      const error: unknown = await client.checkKey(apiKey(KEY), budget()).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "CONFIG_INVALID" });
      expect(inspect(error, { depth: null, showHidden: true })).not.toContain("pa55word");
      expect(await upstream.create(keyRequest(), budget())).toEqual({
        status: "never-sent",
        reason: "unreachable",
        detail: "was not asked: HTTPS_PROXY or HTTP_PROXY is not the URL of a proxy",
      });
    },
  );
});

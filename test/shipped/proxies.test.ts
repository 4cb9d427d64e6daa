import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { CANARIES, canariesIn } from "../support/fixtures/leak-canaries.ts";
import { hasOpenssl, selfSigned } from "../support/fixtures/certificate.ts";
import { connectProxy, hasIpv6 } from "../support/fixtures/connect-proxy.ts";
import type { ConnectProxy } from "../support/fixtures/connect-proxy.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { errorOf } from "../support/programs/in-process.ts";
import { runProgram } from "../support/programs/installed-library.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { journalOf } from "../support/home/tool-with-openrouter.ts";

/** The tool and the library as they are built, with everything between them and OpenRouter that a company has. */

const SERVER = "openrouter.invalid:443";
const CREDENTIALS = `Basic ${Buffer.from(`me:${CANARIES.password}`).toString("base64")}`;
const USER_INFO = `me:${encodeURIComponent(CANARIES.password)}@`;

interface Company {
  readonly home: Home;
  readonly server: OpenRouterServer;
  readonly proxy: ConnectProxy;
  /** What the machines of this company have set; the proxy is to be added. */
  readonly environment: Readonly<Record<string, string>>;
}

/** A company whose machines reach OpenRouter only through its proxy, and trust the certificates of both. */
async function company(kind: "http" | "https" = "http", host: "127.0.0.1" | "::1" = "127.0.0.1"): Promise<Company> {
  const files = selfSigned("DNS:openrouter.invalid,IP:127.0.0.1,IP:::1");
  const tls = { cert: readFileSync(files.certificate, "utf8"), key: readFileSync(files.key, "utf8") };
  const managementKey = CANARIES["management key"];
  const server = await mockOpenRouter({ tls, managementKey, newKey: () => CANARIES["made key"] });
  const proxy = await connectProxy(Number(new URL(server.url).port), 200, {
    host,
    ...(kind === "https" ? { tls } : {}),
  });
  const environment = {
    KEYCTL_OPENROUTER_URL: "https://openrouter.invalid/api/v1",
    OPENROUTER_PROVISIONING_KEY: managementKey,
    NODE_EXTRA_CA_CERTS: files.certificate,
  };
  return { home: emptyHome(), server, proxy, environment };
}

type Runner = (company: Company, environment: Readonly<Record<string, string>>) => Promise<Outcome>;
interface Outcome {
  readonly key: string | null;
  readonly output: Readonly<Record<"stdout" | "stderr", string>>;
}

/** Makes the key of a user who has none: the management key, a POST, and a listing all go the same way. */
const RUNNERS = {
  async "the tool"({ home, environment }, more) {
    const { stdout, stderr } = await keyctl(home, ["sync", "-u", "alice", "--json"], {
      env: { ...environment, ...more },
    });
    return { key: (JSON.parse(stdout) as { readonly key: string | null }).key, output: { stdout, stderr } };
  },
  async "the library"({ home, environment }, more) {
    const program = `
      import { syncUserApiKey } from "keyctl";
      const { key, error } = await syncUserApiKey("alice");
      console.log(JSON.stringify({ key: key?.masked ?? null, error: error?.message }));`;
    const { stdout, stderr } = await runProgram(home, "program.mjs", program, { ...environment, ...more });
    return { key: (JSON.parse(stdout) as { readonly key: string | null }).key, output: { stdout, stderr } };
  },
} satisfies Readonly<Record<string, Runner>>;

type Route = readonly [
  name: string,
  kind: "http" | "https",
  host: "127.0.0.1" | "::1",
  variables: (at: string) => Readonly<Record<string, string>>,
];

const ROUTES: readonly Route[] = [
  ["in HTTPS_PROXY", "http", "127.0.0.1", (at) => ({ HTTPS_PROXY: `http://${USER_INFO}${at}` })],
  [
    "in HTTPS_PROXY, beside an empty https_proxy",
    "http",
    "127.0.0.1",
    (at) => ({ https_proxy: "", HTTPS_PROXY: `http://${USER_INFO}${at}/`, no_proxy: "", NO_PROXY: "10.0.0.0/8" }),
  ],
  [
    // Node's own support of proxies is for requests of its own.
    "that Node uses as well",
    "http",
    "127.0.0.1",
    (at) => ({ HTTPS_PROXY: `http://${USER_INFO}${at}`, NODE_USE_ENV_PROXY: "1" }),
  ],
  ["without a scheme", "http", "127.0.0.1", (at) => ({ https_proxy: `${USER_INFO}${at}` })],
  ["in HTTP_PROXY", "http", "127.0.0.1", (at) => ({ HTTP_PROXY: `http://${USER_INFO}${at}` })],
  ["in ALL_PROXY", "http", "127.0.0.1", (at) => ({ ALL_PROXY: `http://${USER_INFO}${at}` })],
  ["that speaks TLS", "https", "127.0.0.1", (at) => ({ HTTPS_PROXY: `https://${USER_INFO}${at}` })],
  ...(hasIpv6
    ? ([
        ["at an IPv6 address", "http", "::1", (at) => ({ HTTPS_PROXY: `http://${USER_INFO}${at}` })],
        ["at an IPv6 address that speaks TLS", "https", "::1", (at) => ({ HTTPS_PROXY: `https://${USER_INFO}${at}` })],
      ] satisfies readonly Route[])
    : []),
];

describe.skipIf(!hasOpenssl).each(Object.entries(RUNNERS))("%s", (_, run) => {
  it.each(ROUTES)(
    "makes a key through a proxy %s, which sees no secret but its own",
    async (name, kind, host, variables) => {
      const here = await company(kind, host);
      const { proxy, server } = here;
      const { key, output } = await run(here, variables(`${host === "::1" ? "[::1]" : host}:${proxy.port}`));
      expect(key).toBe(`***************${CANARIES["made key"].slice(-4)}`);
      expect([server.keys.size, server.count("POST /keys"), proxy.others()]).toEqual([1, 1, 0]);
      expect(proxy.tunnels.length).toBeGreaterThan(0);
      for (const tunnel of proxy.tunnels) expect(tunnel).toEqual({ to: SERVER, authorization: CREDENTIALS });
      expect(canariesIn(output)).toEqual([]);
      // Node 22 calls its own support experimental, before anything of ours runs.
      if (!name.includes("Node")) expect(output.stderr).not.toMatch(/warning/i);
    },
  );

  it.each([
    ["that the proxy's certificate is not trusted", "https", ["HTTPS_PROXY", "https"]],
    ["that OpenRouter's certificate is not trusted behind the proxy", "http", ["HTTPS_PROXY", "http"]],
    ["that OpenRouter's certificate is not trusted", "http", undefined],
  ] as const)("verifies certificates whatever the environment says: %s", async (_name, kind, through) => {
    const here = await company(kind);
    const { proxy, server } = here;
    const { key, output } = await run(here, {
      NODE_EXTRA_CA_CERTS: "",
      NODE_TLS_REJECT_UNAUTHORIZED: "0",
      ...(through === undefined
        ? { KEYCTL_OPENROUTER_URL: server.url }
        : { [through[0]]: `${through[1]}://${USER_INFO}127.0.0.1:${proxy.port}` }),
    });
    expect(key).toBeNull();
    const whose = kind === "https" ? `the proxy 127.0.0.1:${proxy.port} (from HTTPS_PROXY)` : "OpenRouter";
    expect(output.stdout + output.stderr).toContain(`${whose} has a certificate that cannot be trusted (`);
    expect(server.requests).toEqual([]);
    if (kind === "https") expect(proxy.tunnels).toEqual([]);
    expect(canariesIn(output)).toEqual([]);
  });
});

/** A port that takes connections, and says nothing on them. */
async function silentPort(): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    sockets.add(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  // An address with a port, because it listens on TCP.
  return (server.address() as AddressInfo).port;
}

describe("the tool", () => {
  it.skipIf(!hasOpenssl)("does not let Node say that certificates are not verified", async () => {
    const here = await company();
    const off = { NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_EXTRA_CA_CERTS: "", KEYCTL_OPENROUTER_URL: here.server.url };
    const { output } = await RUNNERS["the tool"](here, off);
    expect(output.stderr).toContain("has a certificate that cannot be trusted");
    expect(output.stderr).not.toContain("Warning");
  });

  const env = { KEYCTL_OPENROUTER_URL: "https://openrouter.invalid/api/v1" };

  it.each([
    [407, "answered 407", /^check the user name and the password in HTTPS_PROXY/],
    [403, "answered 403", /^ask who runs the proxy for a way to OpenRouter/],
    ["garbage", "does not answer as a proxy does", /^check HTTPS_PROXY: the host, the port/],
  ] as const)("names the proxy that refuses, and does not ask it again: %s", async (answer, problem, hint) => {
    const proxy = await connectProxy(0, answer);
    const run = await keyctl(emptyHome(), ["validate", "--stdin", "--json"], {
      env: { ...env, HTTPS_PROXY: `http://${USER_INFO}127.0.0.1:${proxy.port}` },
      input: KEY,
    });
    expect(run.code).toBe(6);
    expect(errorOf(run)).toEqual({
      code: "VERDICT_UNKNOWN",
      exit_code: 6,
      message: `OpenRouter could not be reached: the proxy 127.0.0.1:${proxy.port} (from HTTPS_PROXY) ${problem}`,
      hint: expect.stringMatching(hint) as string,
      retryable: false,
    });
    expect(proxy.tunnels).toHaveLength(1);
    expect(canariesIn({ stdout: run.stdout, stderr: run.stderr })).toEqual([]);
  });

  it.each([
    [502, "answered 502", /^run the command again/],
    ["hang-up", "closed the connection (UND_ERR_SOCKET)", /^check that the proxy runs, and whether HTTPS_PROXY/],
    ["dead", "refused the connection (ECONNREFUSED)", /^check HTTPS_PROXY, and that the proxy runs/],
  ] as const)("names the proxy that is out of order: %s", async (answer, problem, hint) => {
    const port = answer === "dead" ? 9 : (await connectProxy(0, answer)).port;
    // It asks once.
    const run = await keyctl(emptyHome(), ["doctor", "--json"], {
      env: { ...env, HTTPS_PROXY: `http://${USER_INFO}127.0.0.1:${port}` },
    });
    const { checks } = JSON.parse(run.stdout) as { readonly checks: readonly object[] };
    expect(checks).toContainEqual({
      id: "openrouter",
      status: "attention",
      message: `OpenRouter could not be reached: the proxy 127.0.0.1:${port} (from HTTPS_PROXY) ${problem}`,
      hint: expect.stringMatching(hint) as string,
    });
    expect(canariesIn({ stdout: run.stdout, stderr: run.stderr })).toEqual([]);
  });

  it.each([
    ["the server", (silent: number) => ({ KEYCTL_OPENROUTER_URL: `https://127.0.0.1:${silent}/api/v1` })],
    ["the proxy", (silent: number) => ({ HTTPS_PROXY: `https://127.0.0.1:${silent}` })],
    [
      "the server behind the proxy",
      async (silent: number) => ({ HTTPS_PROXY: `http://127.0.0.1:${(await connectProxy(silent)).port}` }),
    ],
  ])("does not outlive its time where %s is silent before TLS is there", async (_name, variables) => {
    const more = await variables(await silentPort());
    const began = performance.now();
    const run = await keyctl(emptyHome(), ["validate", "--stdin", "--timeout", "1s"], {
      env: { ...env, ...more },
      input: KEY,
    });
    expect(run.code).toBe(6);
    expect(run.stderr).toContain(" in time\n");
    // A connection is given up after five seconds by itself.
    expect(performance.now() - began).toBeLessThan(4_500);
  });

  it("refuses a SOCKS proxy in a line, before it begins to make a key", async () => {
    const home = emptyHome();
    const run = await keyctl(home, ["provision", "-u", "alice"], {
      env: { ...env, OPENROUTER_PROVISIONING_KEY: CANARIES["management key"], HTTPS_PROXY: "socks5://127.0.0.1:1080" },
    });
    expect(run.code).toBe(4);
    expect(run.stderr).toBe(
      "error: HTTPS_PROXY names a SOCKS proxy; keyctl uses http and https proxies only\n" +
        "hint: HTTPS_PROXY=http://<host>:<port>, or NO_PROXY=openrouter.invalid to use none\n",
    );
    expect(await journalOf(home)).toEqual([]);
  });

  it("tells in doctor of the proxy, and of the variable that is not followed", async () => {
    const proxy = await connectProxy(0, 407);
    const run = await keyctl(emptyHome(), ["doctor", "--json"], {
      env: {
        ...env,
        NODE_TLS_REJECT_UNAUTHORIZED: "0",
        HTTPS_PROXY: `http://${USER_INFO}127.0.0.1:${proxy.port}`,
      },
    });
    const { checks } = JSON.parse(run.stdout) as { readonly checks: readonly Readonly<Record<string, string>>[] };
    const said = checks.map(({ id, status, message }) => `${id} ${status}: ${message}`);
    expect(said).toContain(
      `openrouter attention: OpenRouter could not be reached: the proxy 127.0.0.1:${proxy.port} (from HTTPS_PROXY) answered 407`,
    );
    expect(said).toContain(
      "environment attention: NODE_TLS_REJECT_UNAUTHORIZED=0 is set and ignored: certificates are still verified",
    );
    expect(said).toContainEqual(expect.stringMatching(/^environment pass: KEYCTL_OPENROUTER_URL, HTTPS_PROXY, /));
    expect(canariesIn({ stdout: run.stdout, stderr: run.stderr })).toEqual([]);
  });
});

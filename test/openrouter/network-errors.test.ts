import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { sendWithRetries } from "../../src/openrouter/http/send-with-retries.ts";
import { parseBaseUrl } from "../../src/openrouter/http/base-url.ts";
import type { BaseUrl } from "../../src/openrouter/http/base-url.ts";
import { isNetworkError } from "../../src/openrouter/http/network-errors.ts";
import { undiciTransport } from "../../src/openrouter/http/transport.ts";
import { connectProxy } from "../support/fixtures/connect-proxy.ts";
import { clientOf, keyRequest } from "../support/openrouter/client.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { deadlineIn } from "../../src/core/async/deadline.ts";
import { DEADLINES } from "../../src/openrouter/http/exchange.ts";

const OK = "HTTP/1.1 200 OK\r\n";
const BROKEN_ANSWERS = {
  "no HTTP": "SSH-2.0-OpenSSH_9.9\r\n",
  "two lengths": `${OK}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!`,
  "a negative length": `${OK}content-length: -4\r\n\r\n`,
  "a bad chunk": `${OK}transfer-encoding: chunked\r\n\r\nzz\r\n`,
  "a NUL in a header": `${OK}x: a\0b\r\n\r\n`,
  "too many headers": `${OK}x: ${"a".repeat(200_000)}\r\n\r\n`,
  "another protocol": "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
  nothing: "",
};

it.each(Object.entries(BROKEN_ANSWERS))(
  "a server that answers with %s is no bug, and a key may exist",
  async (_, answer) => {
    const { upstream, budget } = clientOf({ url: await answering(answer), managementKey: "sk-or-v1-management-key" });
    expect(await upstream.create(keyRequest(), budget())).toEqual({
      status: "ambiguous",
      detail: "closed the connection early",
    });
  },
);

it.each([
  ["ECONNREFUSED", true],
  ["EAI_AGAIN", true],
  ["EMFILE", true],
  ["ERR_SSL_WRONG_VERSION_NUMBER", true],
  ["CERT_HAS_EXPIRED", true],
  ["UND_ERR_SOCKET", true],
  ["ERR_INVALID_ARG_TYPE", false],
  ["ERR_ASSERTION", false],
  ["ERR_TLS_INVALID_PROTOCOL_VERSION", false],
  ["UND_ERR_INVALID_ARG", false],
  ["UND_ERR_REQ_CONTENT_LENGTH_MISMATCH", false],
  ["", false],
  [undefined, false],
])("an error with the code %s: the network's is %s", (code, expected) => {
  expect(isNetworkError(Object.assign(new Error("x"), { code }))).toBe(expected);
});

it("a request that cannot be sent is a bug: it is thrown, and not sent again", async () => {
  const server = await mockOpenRouter();
  await expectBug(baseUrlOf(server.url), undefined);
  expect(server.count()).toBe(0);
});

it("that is so behind a proxy as well", async () => {
  const { port } = await connectProxy(0);
  const proxy = { origin: `http://127.0.0.1:${port}`, authorization: "not\na header", name: "", from: "HTTPS_PROXY" };
  await expectBug(baseUrlOf("https://openrouter.invalid/api/v1"), proxy);
});

async function expectBug(baseUrl: BaseUrl, proxy: Parameters<typeof undiciTransport>[1]): Promise<void> {
  const transport = undiciTransport(baseUrl, proxy, DEADLINES);
  onTestFinished(() => transport.close());
  const waits: number[] = [];
  const means = {
    transport: async () => transport,
    clock: { now: () => new Date() },
    wait: async (milliseconds: number) => waits.push(milliseconds),
    random: () => 0,
    onWait: () => {},
    onSend: () => {},
    onServerTime: () => {},
    deadlines: DEADLINES,
  };
  const token = proxy === undefined ? "a\nb" : null;
  const request = { kind: "read", method: "GET", path: "/key", token, body: undefined, maxBytes: 1000 } as const;
  const asked = sendWithRetries(request, deadlineIn(10_000, new AbortController().signal), means);
  await expect(asked).rejects.toMatchObject({ name: "InvalidArgumentError", code: "UND_ERR_INVALID_ARG" });
  expect(waits).toEqual([]);
}

function baseUrlOf(url: string): BaseUrl {
  const baseUrl = parseBaseUrl(url);
  if ("problem" in baseUrl) throw new Error(baseUrl.problem);
  return baseUrl;
}

/** The URL of a server that answers every request so, and hangs up. */
async function answering(answer: string): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end(answer, "latin1"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  // An address with a port, because it listens on TCP.
  const { port } = server.address() as AddressInfo;
  return `http://127.0.0.1:${port}/api/v1`;
}

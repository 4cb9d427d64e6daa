import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { hasOpenssl, selfSigned } from "../support/fixtures/certificate.ts";
import { hashOf, keyEnding } from "../support/fixtures/keys.ts";
import { apiKey, clientOf, keyRequest } from "../support/openrouter/client.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

const KEY = keyEnding("0001");

describe.skipIf(!hasOpenssl)("a server whose certificate is not to be trusted", () => {
  it("is asked once and told nothing", async () => {
    const { certificate, key } = selfSigned();
    const server = await mockOpenRouter({
      tls: { cert: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8") },
    });
    const { client, upstream, waits, budget } = clientOf(server);
    const detail = "has a certificate that cannot be trusted (DEPTH_ZERO_SELF_SIGNED_CERT)";
    const remedy = {
      hint: "NODE_EXTRA_CA_CERTS=<file> names an authority of your own; NODE_TLS_REJECT_UNAUTHORIZED is ignored",
      isRequired: true,
    };
    const unknown = { status: "unknown", reason: "unreachable", httpStatus: null, attempts: 1, detail, remedy };
    expect(await client.checkKey(apiKey(KEY), budget())).toEqual(unknown);
    expect(await upstream.disable(hashOf(KEY), budget())).toEqual(unknown);
    expect(await upstream.remove(hashOf(KEY), budget())).toEqual(unknown);
    expect(await upstream.create(keyRequest(), budget())).toEqual({
      status: "never-sent",
      reason: "unreachable",
      detail,
      remedy,
    });
    expect([server.count(), waits]).toEqual([0, []]);
  });
});

it("a server that does not speak TLS was told nothing either, and is asked again", async () => {
  const server = await mockOpenRouter();
  const { upstream, waits, budget } = clientOf({ ...server, url: server.url.replace("http:", "https:") });
  const creation = await upstream.create(keyRequest(), budget());
  expect(creation).toMatchObject({ status: "never-sent", reason: "unreachable" });
  expect([server.count(), waits.length]).toEqual([0, 5]);
});

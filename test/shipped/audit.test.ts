import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import { emptyHome } from "../support/home/home.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const URL_OF = "https://advisories.example/GHSA-1";

/** A registry that answers so when it is asked for advisories, and has no package. */
async function registry(status: number, advisories: object): Promise<string> {
  const server = createServer((request, response) => {
    const isAudit = request.url?.endsWith("/advisories/bulk") === true;
    request.resume();
    response.writeHead(isAudit ? status : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(isAudit ? advisories : {}));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** An advisory on every version of this package. */
function on(name: string) {
  return { [name]: [{ id: 1, url: URL_OF, title: "it leaks", severity: "high", vulnerable_versions: "*", cwe: [] }] };
}

interface Given {
  readonly status?: number;
  readonly advisories?: object;
  readonly accepted?: readonly object[];
}

async function audit({ status = 200, advisories = {}, accepted = [] }: Given) {
  const { work } = emptyHome();
  const file = join(work, "accepted.json");
  writeFileSync(file, JSON.stringify(accepted));
  const env = {
    npm_config_registry: await registry(status, advisories),
    npm_config_cache: join(work, "cache"),
    npm_config_fetch_retries: "0",
  };
  const words = [join(ROOT, ".ci", "audit.mjs"), file];
  const { exitCode, stdout, stderr } = await execa(process.execPath, words, { cwd: ROOT, env, reject: false });
  return { code: exitCode, said: stdout + stderr };
}

const ENTRY = { package: "undici", advisory: URL_OF, reason: "keyctl makes no such call", date: "2026-11-30" };
const FOUND = `audit: undici: high, it leaks: ${URL_OF}`;

describe("the audit", () => {
  it.each([404, 405, 501])("says in one line that a registry has no advisories when it answers %i", async (status) => {
    const said = `audit: this registry has no advisories (${status}), so nothing is checked`;
    expect(await audit({ status })).toEqual({ code: 0, said });
  });

  it("fails when a registry that has them does not give them", async () => {
    expect(await audit({ status: 500 })).toMatchObject({
      code: 1,
      said: expect.stringMatching(/^audit: the registry gave no advisories: 500 /) as unknown,
    });
  });

  it("passes with nothing found", async () => {
    const said = "audit: no advisory is about what is shipped";
    expect(await audit({})).toEqual({ code: 0, said });
  });

  it.each(["undici", "commander", "@mongodb-js/saslprep", "@photostructure/sqlite"])(
    "fails for a finding in %s, which people get with keyctl",
    async (name) => {
      expect(await audit({ advisories: on(name) })).toEqual({ code: 1, said: FOUND.replace("undici", name) });
    },
  );

  it.each(["vitest", "fast-check"])("says nothing of %s, which nobody gets", async (name) => {
    expect((await audit({ advisories: on(name) })).code).toBe(0);
  });

  it.each<readonly [string, readonly object[], number, string]>([
    [
      "a reason and a date",
      [ENTRY],
      0,
      "no advisory is about what is shipped but 1 in the list of those that are accepted",
    ],
    ["no reason", [{ ...ENTRY, reason: "" }], 1, "an entry lacks something"],
    ["no date", [{ ...ENTRY, date: "soon" }], 1, "an entry lacks something"],
    ["another advisory", [{ ...ENTRY, advisory: "https://advisories.example/GHSA-2" }], 1, FOUND],
    ["one that is mended by now", [ENTRY, { ...ENTRY, package: "bson" }], 1, `audit: no longer found: ${URL_OF}`],
  ])("takes an entry in the list with %s for what it is", async (_, accepted, code, said) => {
    const outcome = await audit({ advisories: on("undici"), accepted });
    expect(outcome.code).toBe(code);
    expect(outcome.said).toContain(said);
  });
});

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseMongoUri, withoutOverruled } from "../../src/stores/mongo/uri.ts";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { MALFORMED_URIS, MARK } from "../support/mongodb/malformed-uris.ts";

const COMMAND = ["get", "--user", "alice", "--stored", "--debug"];

describe("a MongoDB URI that somebody got wrong", () => {
  it.each(MALFORMED_URIS)("is refused in one sentence that holds nothing of its password: %j", async (uri) => {
    const home = emptyHome();
    writeFileSync(join(home.work, "uri.txt"), `${uri}\n`);
    const environments: Readonly<Record<string, string>>[] = [
      { KEYCTL_STORE: uri },
      { KEYCTL_STORE_FILE: "uri.txt" },
      { MONGODB_URI: uri },
      { MONGO_URI_FILE: "uri.txt" },
    ];
    for (const env of environments) {
      const [from = ""] = Object.keys(env);
      const said = await inProcess(home, COMMAND, { env });
      const json = await inProcess(home, [...COMMAND, "--json"], { env });

      expect({ from, code: said.code, json: errorOf(json) }).toMatchObject({
        code: 4,
        json: { code: "CONFIG_INVALID" },
      });
      expect(said.stderr).toMatch(/^error: [^\n]+\nhint: [^\n]+\n$/);
      expect(said.stderr).toContain(from);
      expect(Object.values({ ...said, ...json }).join("\n")).not.toMatch(new RegExp(MARK, "i"));
      expect(documentsOf(json)).toHaveLength(1);
    }
  });

  it.each(MALFORMED_URIS)("is refused as an argument: %j", async (uri) => {
    for (const args of [
      ["--store", uri],
      [`--store=${uri}`, "--json"],
    ]) {
      const run = await inProcess(emptyHome(), [...COMMAND, ...args]);
      expect(run.code).toBe(2);
      if (/:c4nary.*@/s.test(uri)) expect(run.stderr).toContain("there is a URI with a password on the command line");
      expect(`${run.stdout}${run.stderr}`).not.toMatch(new RegExp(MARK, "i"));
    }
  });

  it("shows nothing of a user or a password, wherever their characters go", () => {
    const parts = fc.array(
      fc.constantFrom(":", "/", "?", "#", "@", "[", "]", ",", "&", " ", "=", "\n", "%40", "%", "é", "+srv", "27017"),
      { maxLength: 6 },
    );
    const secret = parts.map((texts) => texts.map((text) => `${MARK}${text}`).join("") + MARK);
    fc.assert(
      fc.property(secret, secret, fc.constantFrom("mongodb", "mongodb+srv"), (user, password, scheme) => {
        const parsed = parseMongoUri(`${scheme}://${user}:${password}@db.example/keys?tls=true`);
        expect("problem" in parsed ? parsed.problem : parsed.name).not.toContain(MARK);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("what the driver is given of a URI", () => {
  it.each([
    ["mongodb://db/keys", "mongodb://db/keys"],
    ["mongodb://u:p%40@a:1,b/keys?tls=true&replicaSet=rs0", "mongodb://u:p%40@a:1,b/keys?tls=true&replicaSet=rs0"],
    ["mongodb://db/keys?w=0&tls=true&journal=false", "mongodb://db/keys?tls=true"],
    ["mongodb://db/keys?readConcernLevel=local&retryWrites=true", "mongodb://db/keys"],
    ["mongodb://db/keys?W=1&SOCKETTIMEOUTMS=1&TLS=true", "mongodb://db/keys?TLS=true"],
    ["mongodb+srv://db.example/keys?timeoutMS=1&appName=Python", "mongodb+srv://db.example/keys"],
    ["mongodb://db/keys?tlsInsecure=false&tls=true&tlsAllowInvalidHostnames=false", "mongodb://db/keys?tls=true"],
  ])("of %s is %s: what keyctl decides is left out", (uri, given) => {
    expect(parseMongoUri(uri)).toMatchObject({ database: "keys" });
    expect(withoutOverruled(uri)).toBe(given);
  });
});

describe("a URI that asks not to verify the server's certificate", () => {
  const authority = "leave that option out; tlsCAFile=<file> names the authority, or the server's own certificate";
  it.each([
    ["tlsInsecure", "true", authority],
    ["TLSINSECURE", "true", authority],
    ["tlsAllowInvalidCertificates", "true", authority],
    ["tlsAllowInvalidCertificates", "TRUE", authority],
    ["tlsAllowInvalidCertificates", "c4nary", authority],
    ["tlsAllowInvalidHostnames", "true", "leave that option out, and name the server as its certificate does"],
  ])("is refused: %s=%s", async (option, value, hint) => {
    const env = { KEYCTL_STORE: `mongodb://me:c4nary@db/keys?tls=true&${option}=${value}&replicaSet=rs0` };
    const run = await inProcess(emptyHome(), ["list", "--json"], { env });
    const message = `KEYCTL_STORE asks not to verify the server's certificate (${option}), which keyctl always does`;
    expect(run.code).toBe(4);
    expect(errorOf(run)).toEqual({ code: "CONFIG_INVALID", exit_code: 4, message, hint, retryable: false });
    expect(`${run.stdout}${run.stderr}`).not.toContain(MARK);
  });
});

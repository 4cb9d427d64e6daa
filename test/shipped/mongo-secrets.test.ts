import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { canariesIn, CANARIES, filesBelow } from "../support/fixtures/leak-canaries.ts";
import { keyctl, onlyIn } from "../support/programs/keyctl.ts";
import { MALFORMED_URIS, MARK } from "../support/mongodb/malformed-uris.ts";
import { homeOn, withPassword, withSpare } from "../support/mongodb/run.ts";
import { FAILURES } from "../support/mongodb/failures.ts";
import { mongodbStub } from "../support/mongodb/stub.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";

const LIBRARY = new URL("../../dist/library/index.js", import.meta.url).href;
/** What makes Node and the driver talkative. */
const TALKATIVE = {
  NODE_DEBUG: "*",
  DEBUG: "*",
  MONGODB_LOG_ALL: "trace",
  MONGODB_LOG_COMMAND: "trace",
  MONGODB_LOG_CLIENT: "trace",
  MONGODB_LOG_PATH: "stderr",
  MONGODB_LOG_MAX_DOCUMENT_LENGTH: "0",
};
const DEBUG = ["--debug", "--json", "--timeout", "1s"];

type Case = readonly [name: string, uri: () => Promise<string>, code: number];

const stubWith = (failure: keyof typeof FAILURES) => async () => (await mongodbStub(FAILURES[failure])).uri;

const CASES: readonly Case[] = [
  ["a port that refuses", async () => withPassword("mongodb://127.0.0.1:1/keys"), 7],
  ["a host that there is not", async () => withPassword("mongodb://nowhere.invalid/keys"), 7],
  ["a service that there is not", async () => withPassword("mongodb+srv://nowhere.invalid/keys"), 7],
  ["a wrong password", async () => withPassword(await stubWith("wrongPassword")()), 4],
  ["a server that is too old", async () => withPassword(await stubWith("tooOld")()), 7],
  ["a server without rights", async () => withSpare(await stubWith("noLogin")()), 4],
  ["a server without space", async () => withSpare(await stubWith("diskFull")()), 7],
  ["a server without TLS", async () => withPassword(`${await stubWith("router")()}?tls=true`), 7],
  ["Kerberos", async () => withPassword(`${await stubWith("router")()}?authMechanism=GSSAPI`), 4],
  ["an option that there is not", async () => withPassword("mongodb://127.0.0.1:1/keys?password=x"), 4],
];

describe("no secret leaves a run over MongoDB", () => {
  it.each(CASES)("%s", async (_, uriOf, code) => {
    const home = homeOn(await uriOf());
    home.writeKeyFile(CANARIES.key);
    const given = Object.keys(filesBelow(home.folder));

    const run = await keyctl(home, ["sync", "-u", "carol", ...DEBUG], { env: TALKATIVE });

    expect({ code: run.code, stdout: run.stdout }).toMatchObject({ code });
    expect(canariesIn({ stdout: run.stdout, stderr: run.stderr })).toEqual([]);
    expect(Object.keys(filesBelow(home.folder))).toEqual(given);
  });

  it.each(MALFORMED_URIS.filter((_, index) => index % 6 === 0))("a malformed URI: %j", async (uri) => {
    const home = homeOn(uri);
    writeFileSync(join(home.work, "uri.txt"), uri);
    const store = [{ KEYCTL_STORE: uri }, { KEYCTL_STORE: undefined, KEYCTL_STORE_FILE: "uri.txt" }];
    for (const env of store) {
      const run = await keyctl(home, ["list", ...DEBUG], { env: { ...TALKATIVE, ...env } });
      expect(run.code).toBe(4);
      expect(`${run.stdout}${run.stderr}`).not.toMatch(new RegExp(MARK, "i"));
    }
  });

  it.each(CASES)("nor the library: %s", async (_, uriOf) => {
    const home = homeOn(await uriOf());
    home.writeKeyFile(CANARIES.key);
    const { stdout, stderr } = await execa(process.execPath, ["--input-type=module", "--eval", PRINTS_ALL], {
      ...onlyIn(home, { env: { ...TALKATIVE, NODE_DEBUG: "" } }),
    });
    expect(stdout).toContain("KeyctlError");
    expect(canariesIn({ stdout: String(stdout), stderr: String(stderr) })).toEqual([]);
    expect(`${String(stdout)}${String(stderr)}`).not.toMatch(/\bMongo[A-Z](?!B)|MONGODB DRIVER/);
  });
});

describeWithMongodb("no secret leaves a run that ends well over MongoDB", () => {
  it.each(["sync -u carol", "sync -u carol -u dave", "get -u carol", "list", "save -u carol --stdin", "doctor"])(
    "keyctl %s",
    async (command) => {
      const { uri, db } = databaseOfTest();
      const home = homeOn(withSpare(uri));
      home.writeKeyFile(CANARIES.key);

      const options = { env: TALKATIVE, input: CANARIES.key };
      if (!/^(sync|get|save)/.test(command)) expect((await keyctl(home, ["rekey", "--init"])).code).toBe(0);
      const run = await keyctl(home, [...command.split(" "), "--debug"], options);

      expect(run.code).toBe(command === "doctor" ? 10 : 0);
      expect(canariesIn({ stdout: run.stdout, stderr: run.stderr })).toEqual([]);
      expect(canariesIn({ database: JSON.stringify(await db.collection("api_keys").find().toArray()) })).toEqual([]);
    },
  );
});

/** Everything that the library gives and throws, however it is printed. */
const PRINTS_ALL = `
  import { inspect } from "node:util";
  import { KeyManager, syncUserApiKey, getUserApiKey } from ${JSON.stringify(LIBRARY)};
  const seen = [];
  const keep = (thrown) => void seen.push(thrown);
  const keys = await KeyManager.open({ timeoutMs: 1000 }).catch(keep);
  if (keys !== undefined) {
    seen.push(keys, await keys.syncAndGetKey("carol"), await keys.getStoredKey("carol"), await keys.purge("carol"));
    await keys.check().catch(keep);
    try { for await (const row of keys.rows()) seen.push(row); } catch (thrown) { keep(thrown); }
    await keys.close();
  } else {
    seen.push(await syncUserApiKey("carol"));
    await getUserApiKey("carol").catch(keep);
  }
  const deep = { showHidden: true, depth: Infinity, getters: true };
  for (const thing of seen.flatMap((it) => [it, it?.error, it?.cause, it?.error?.cause]))
    console.log(inspect(thing, deep), JSON.stringify(thing), String(thing?.stack), thing?.name);`;

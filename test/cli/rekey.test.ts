import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseMasterKeys } from "../../src/encryption/jwk-set.ts";
import { withDatabase } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { jwkSet, newJwk } from "../support/fixtures/jwk.ts";
import { KEY, keyEnding } from "../support/fixtures/keys.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { allThatIsStored, masterKeysInUse, sealedValues, writeSealedValue } from "../support/fixtures/stored-rows.ts";

const USERS = ["alice", "bob", "carol"];

/** A home with a key for each of the users. */
async function homeWithKeys(options: InProcessOptions = {}): Promise<Home> {
  const home = emptyHome();
  for (const [index, user] of USERS.entries()) {
    const input = keyEnding(`000${index}`);
    const saved = await inProcess(home, ["save", "--user", user, "--stdin"], { ...options, input });
    expect(saved.code).toBe(0);
  }
  return home;
}

function kidsIn(path: string): readonly string[] {
  return parseMasterKeys(readFileSync(path, "utf8")).map(({ kid }) => kid);
}

async function revealed(home: Home, options: InProcessOptions = {}): Promise<readonly unknown[]> {
  const run = await inProcess(home, ["get", "--all", "--stored", "--reveal", "--json"], options);
  return documentsOf(run)
    .slice(0, -1)
    .map(({ key }) => key);
}

const KEYS = USERS.map((_, index) => keyEnding(`000${index}`));

/** A busy machine may take seconds. */
const timeless = (text: string) => text.replace(/ in \d+s/, " in 0s");

describe("rekey", () => {
  it("says what it has done, what nothing uses any more, and what comes next", async () => {
    const home = await homeWithKeys();
    const [before = ""] = kidsIn(home.masterKeys);
    const run = await inProcess(home, ["rekey"]);
    const [after = ""] = kidsIn(home.masterKeys);
    expect(run.code).toBe(0);
    expect(timeless(run.stdout)).toBe(`3 keys in 0s: 3 re-encrypted; the active master key is ${after}\n`);
    expect(run.stderr).toBe(
      `note: added a new master key in front of those in ${home.masterKeys}; back up that file again, older keys included\n` +
        `note: nothing in this database uses master key ${before} any more\n` +
        "hint: a minute after every machine has the new master key: keyctl rekey --keep-key   checks once more;\n" +
        `      then what no other database and no backup uses may be taken out of ${home.masterKeys}:\n` +
        `      keyctl rekey --retire=${before}\n`,
    );
    expect(await masterKeysInUse(home)).toEqual([after]);
    expect(await revealed(home)).toEqual(KEYS);
  });

  it("prints nothing of a master key, nor of a key", async () => {
    const home = await homeWithKeys();
    const runs = [await inProcess(home, ["rekey", "--debug"]), await inProcess(home, ["rekey", "--json"])];
    const said = runs.map(({ stdout, stderr }) => stdout + stderr).join("");
    const masters = parseMasterKeys(readFileSync(home.masterKeys, "utf8")).map(({ bytes }) => bytes);
    expect(masters).toHaveLength(3);
    const secrets = masters.flatMap((bytes) => [bytes.toString("base64url"), bytes.toString("hex")]);
    expect([...secrets, ...KEYS].filter((secret) => said.includes(secret))).toEqual([]);
  });

  it("ends with one document", async () => {
    const home = await homeWithKeys();
    const [before] = kidsIn(home.masterKeys);
    const run = await inProcess(home, ["rekey", "--json"]);
    const [after] = kidsIn(home.masterKeys);
    expect(documentsOf(run)).toEqual([
      {
        type: "summary",
        command: "rekey",
        store: `sqlite:${home.database}`,
        dry_run: false,
        total: 3,
        done: 3,
        resealed: 3,
        in_clear: 0,
        unreadable: 0,
        active_kid: after,
        removable_kids: [before],
        elapsed_ms: expect.any(Number),
        complete: true,
        warnings: [],
        error: null,
      },
    ]);
  });

  it("leaves the older master key out of the way once it is taken out of the file", async () => {
    const home = await homeWithKeys();
    await inProcess(home, ["rekey"]);
    const { keys } = JSON.parse(readFileSync(home.masterKeys, "utf8")) as { keys: readonly object[] };
    writeFileSync(home.masterKeys, JSON.stringify({ keys: keys.slice(0, 1) }));
    expect(await revealed(home)).toEqual(KEYS);
    expect((await inProcess(home, ["rekey", "--json"])).code).toBe(0);
    expect(await revealed(home)).toEqual(KEYS);
  });

  it("encrypts what is stored in plain text, with the active master key when told so", async () => {
    const home = await homeWithKeys();
    await withDatabase(home, (database) =>
      database.exec(`UPDATE api_keys SET key_encrypted = '${KEY}', key_hash = NULL, key_tail = NULL, revision = NULL`),
    );
    expect((await inProcess(home, ["list"])).stderr).toContain(
      "hint: 3 keys are stored in plain text; keyctl rekey encrypts them\n",
    );
    const kids = kidsIn(home.masterKeys);
    const run = await inProcess(home, ["rekey", "--keep-key"]);
    expect(timeless(run.stdout)).toBe(`3 keys in 0s: 3 re-encrypted; the active master key is ${kids[0]}\n`);
    expect(kidsIn(home.masterKeys)).toEqual(kids);
    expect(await masterKeysInUse(home)).toEqual(kids);
    expect(await revealed(home)).toEqual([KEY, KEY, KEY]);
    const listed = await inProcess(home, ["list", "--json"]);
    expect(documentsOf(listed).map((row) => [row["encrypted"], row["key_hash"] === null])).toEqual(
      USERS.map(() => [true, false]),
    );
  });

  it("names the rows that do not open and leaves them as they are", async () => {
    const home = await homeWithKeys();
    const values = await sealedValues(home);
    await writeSealedValue(home, "bob", values.get("alice") ?? "");
    const run = await inProcess(home, ["rekey"]);
    expect(run.code).toBe(9);
    expect(run.stderr).toContain("warning: the stored key of user bob does not open");
    expect(run.stderr).toContain("error: 1 of 3 keys cannot be decrypted and were left unchanged\n");
    expect(run.stderr).not.toContain("any more");
    const again = await inProcess(home, ["rekey", "--keep-key", "--json"]);
    const [line, summary] = documentsOf(again);
    expect(line).toMatchObject({ type: "user", user_id: "bob", error: { code: "ROW_UNREADABLE", exit_code: 7 } });
    expect(summary).toMatchObject({
      unreadable: 1,
      removable_kids: [],
      complete: true,
      error: { code: "SOME_FAILED" },
    });
    expect((await sealedValues(home)).get("bob")).toBe(values.get("alice"));
  });

  it("does not fill the screen with rows that do not open", async () => {
    const home = await homeWithKeys();
    await withDatabase(home, (database) => {
      database.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
        INSERT INTO api_keys (_id, user_id, provider, key_encrypted, source, created_at, updated_at, generation, settled)
        SELECT 'id-' || i, 'user-' || i, provider, 'nonsense', source, created_at, updated_at, 0, 1 FROM api_keys, n
        WHERE user_id = 'alice'`);
    });
    const run = await inProcess(home, ["rekey"]);
    expect(run.stderr.match(/^warning: /gm)).toHaveLength(10);
    expect(run.stderr).toContain("… and 10 more; --json lists them all\n");
  });

  it("counts only, when told so", async () => {
    const home = await homeWithKeys();
    await writeSealedValue(home, "bob", KEY);
    const before = [await allThatIsStored(home), readFileSync(home.masterKeys, "utf8")];
    const run = await inProcess(home, ["rekey", "--dry-run"]);
    expect(timeless(run.stdout)).toBe(
      "3 keys in 0s: 3 would be re-encrypted, 1 of them stored in plain text; the active master key is a new one\n",
    );
    expect([await allThatIsStored(home), readFileSync(home.masterKeys, "utf8")]).toEqual(before);
  });

  it("goes on where the time was over, with the same master key", async () => {
    const home = await homeWithKeys();
    await withDatabase(home, (database) =>
      database.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        INSERT INTO api_keys (_id, user_id, provider, key_encrypted, source, created_at, updated_at, generation, settled)
        SELECT 'id-' || i, 'user-' || i, provider, '${KEY}', source, created_at, updated_at, 0, 1 FROM api_keys, n
        WHERE user_id = 'alice'`),
    );
    const stopped = await inProcess(home, ["rekey", "--stop-after", "1ms", "--json"]);
    expect(stopped.code).toBe(6);
    expect(documentsOf(stopped).at(-1)).toMatchObject({ total: 503, complete: false, removable_kids: [] });
    const clear = [...(await sealedValues(home)).values()].filter((value) => value === KEY);
    expect(clear.length).toBeGreaterThan(0);
    const rest = await inProcess(home, ["rekey", "--json"]);
    expect(documentsOf(rest)).toMatchObject([{ total: 503, done: 503, complete: true }]);
    expect(kidsIn(home.masterKeys)).toHaveLength(2);
    expect(await masterKeysInUse(home)).toEqual(kidsIn(home.masterKeys).slice(0, 1));
  });

  it("goes on with a master key that was put in front by hand", async () => {
    const master = newJwk();
    const home = await homeWithKeys({ env: { KEYCTL_MASTER_KEYS: master.k } });
    const next = newJwk();
    const options = { env: { KEYCTL_MASTER_KEYS: jwkSet(next, master) } };
    const run = await inProcess(home, ["rekey", "--json"], options);
    expect(documentsOf(run)).toMatchObject([{ resealed: 3, active_kid: next.kid, removable_kids: [master.kid] }]);
    expect(await revealed(home, { env: { KEYCTL_MASTER_KEYS: next.k } })).toEqual(KEYS);
  });

  it.each([
    ["KEYCTL_MASTER_KEYS", (keys: string) => ({ KEYCTL_MASTER_KEYS: keys })],
    [
      "KEYCTL_MASTER_KEYS_COMMAND",
      (keys: string, home: Home) => {
        writeFileSync(join(home.folder, "vault"), keys);
        return { KEYCTL_MASTER_KEYS_COMMAND: 'cat "$HOME/vault"' };
      },
    ],
    [
      "keyctl-master-keys",
      (keys: string, home: Home) => {
        const folder = join(home.folder, "credentials");
        mkdirSync(folder, { recursive: true });
        writeFileSync(join(folder, "keyctl-master-keys"), keys, { mode: 0o600 });
        return { CREDENTIALS_DIRECTORY: folder };
      },
    ],
  ])("puts nothing into %s, and says how to do it by hand", async (name, variables) => {
    const master = newJwk();
    const home = await homeWithKeys({ env: { KEYCTL_MASTER_KEYS: master.k } });
    const env = variables(jwkSet(master), home);
    const before = await allThatIsStored(home);
    const run = await inProcess(home, ["rekey", "--json"], { env });
    expect(errorOf(run)).toMatchObject({ code: "CONFIG_INVALID", exit_code: 4 });
    expect(errorOf(run)?.message).toContain(name);
    expect(errorOf(run)?.hint).toMatch(/in front of the JWK Set .*; then: keyctl rekey$/);
    expect(run.stdout + run.stderr).not.toContain(master.k);
    expect(await allThatIsStored(home)).toBe(before);
  });

  it("changes nothing while another one holds the file of master keys", { timeout: 20_000 }, async () => {
    const home = await homeWithKeys();
    writeFileSync(`${home.masterKeys}.lock`, "");
    const before = [await allThatIsStored(home), readFileSync(home.masterKeys, "utf8")];
    const run = await inProcess(home, ["rekey", "--json"]);
    expect(errorOf(run)).toMatchObject({ code: "CONFLICT", exit_code: 8, retryable: true });
    expect(errorOf(run)?.hint).toContain(`rm ${home.masterKeys}.lock`);
    expect([await allThatIsStored(home), readFileSync(home.masterKeys, "utf8")]).toEqual(before);
  });

  it("makes no store", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["rekey"]);
    expect(run.code).toBe(3);
    expect(readdirSync(home.folder)).toEqual(["work"]);
  });
});

describe("rekey --init", () => {
  it("makes the first master key in the file that is named and not there", async () => {
    const home = emptyHome();
    const path = join(home.folder, "secrets", "keys.json");
    const run = await inProcess(home, ["rekey", "--init"], { env: { KEYCTL_MASTER_KEYS_FILE: path } });
    expect(run.code).toBe(0);
    expect(run.stdout).toBe(`the database is sealed with master key ${kidsIn(path)[0]}\n`);
    expect(run.stderr).toContain(`note: created the first master key: ${path}; back it up`);
    expect(existsSync(dirname(home.masterKeys))).toBe(false);
  });

  it("takes the master keys that are configured, and does nothing the second time", async () => {
    const home = emptyHome();
    const master = newJwk();
    const options = { env: { KEYCTL_MASTER_KEYS: master.k } };
    expect((await inProcess(home, ["rekey", "--init"], options)).code).toBe(0);
    const before = await allThatIsStored(home);
    const again = await inProcess(home, ["rekey", "--init"], options);
    expect(again).toMatchObject({
      code: 0,
      stdout: `the database was sealed already with master key ${master.kid}\n`,
      stderr: "",
    });
    expect(await allThatIsStored(home)).toBe(before);
  });

  it("makes no master key where it cannot write, and no check either", async () => {
    const home = emptyHome();
    mkdirSync(join(home.folder, "config"));
    writeFileSync(join(home.folder, "config", "keyctl"), "in the way");
    const run = await inProcess(home, ["rekey", "--init", "--json"]);
    expect(errorOf(run)).toMatchObject({ code: "CONFIG_INVALID" });
    chmodSync(join(home.folder, "config"), 0o700);
    expect(JSON.parse(await allThatIsStored(home))[1]).not.toContainEqual(
      expect.objectContaining({ _id: expect.stringMatching(/^check:/) }),
    );
  });
});

/** FerretDB 1 is one of the servers that the tests may have. */
const onSharedStore = (uri: string, keys: string) => ({
  env: { KEYCTL_STORE: uri, KEYCTL_MASTER_KEYS_FILE: keys, KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" },
});

describeWithMongodb("rekey over MongoDB", () => {
  it("goes from clear documents of another program to a second master key", async () => {
    const home = emptyHome();
    const keys = join(home.folder, "keys.json");
    const { uri, db } = databaseOfTest();
    const options = onSharedStore(uri, keys);
    const documents = KEYS.map((key, index) => ({ user_id: USERS[index], key_encrypted: key, team: "red" }));
    await db.collection("api_keys").insertMany(documents);

    const refused = await inProcess(home, ["rekey", "--json"], options);
    expect(errorOf(refused)).toMatchObject({ code: "CONFIG_INVALID" });
    const begun = await inProcess(home, ["rekey", "--init"], options);
    expect(begun.stdout).toBe(`the database is sealed with master key ${kidsIn(keys)[0]}\n`);
    expect(begun.stderr).toContain("note: 3 keys stored in plain text stay so");
    expect(begun.stderr).toContain("hint: keyctl rekey --keep-key   encrypts them");

    const encrypted = await inProcess(home, ["rekey", "--keep-key", "--json"], options);
    expect(documentsOf(encrypted)).toMatchObject([{ resealed: 3, removable_kids: [], complete: true }]);
    const changed = await inProcess(home, ["rekey"], options);
    expect(changed.code).toBe(0);
    expect(changed.stderr).toContain(`warning: other machines need a copy of ${keys} now`);
    expect(kidsIn(keys)).toHaveLength(2);
    expect(await revealed(home, options)).toEqual(KEYS);
    const stored = await db.collection("api_keys").find({}).toArray();
    expect(stored.map(({ team, revision }) => [team, revision])).toEqual(USERS.map(() => ["red", 2]));
  });

  it("is what a store without a master key asks for", async () => {
    const home = emptyHome();
    const options = { env: { KEYCTL_STORE: databaseOfTest().uri, KEYCTL_CREATE_STORE: "1", OPENROUTER_API_KEY: KEY } };
    const run = await inProcess(home, ["sync", "--user", "alice", "--json"], options);
    expect(errorOf(run)).toMatchObject({ code: "MASTER_KEY_MISSING", exit_code: 4 });
    expect(errorOf(run)?.hint).toContain("keyctl rekey --init   makes the first one");
  });
});

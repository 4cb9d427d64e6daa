import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MongoClient, ObjectId } from "mongodb";
import { PROVIDER } from "../../src/core/model/key-record.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { KEY, OTHER, USER } from "../support/fixtures/keys.ts";
import { databaseOfTest } from "../support/mongodb/of-test.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { inProcess } from "../support/programs/in-process.ts";

/** A home as a page assumes it, with an OpenRouter of its own. */
export interface Scene {
  readonly home: Home;
  readonly env: Readonly<Record<string, string>>;
  /** The folder that stands for /run/secrets. */
  readonly secrets: string;
  /** In place of mongodb://db.prod/keyctl. */
  readonly mongodb: string | undefined;
}

const STORE = "keyctl-store";
const MASTER_KEYS = "keyctl-master-keys";
const MANAGEMENT_KEY = "openrouter-management-key";

/** What must be there before a block is run. */
const GIVEN: Readonly<Record<string, (scene: Scene) => Promise<void> | void>> = {
  /** Nothing but a program, and lists of users and keys. */
  empty: () => {},
  "with key.txt": keyFile,
  /** Alice, bob and carol have keys that keyctl created; key.txt holds another one. */
  users: keysOfUsers,
  /** The same, and leaked.txt holds alice's key. */
  "users and leaked.txt": async (scene) => {
    await keysOfUsers(scene);
    const { stdout } = await given(scene, ["get", "--user", "alice", "--reveal"]);
    writeFileSync(join(scene.home.work, "leaked.txt"), stdout);
  },
  /** As `users`, with an empty database at the MongoDB server. */
  "users and MongoDB": keysOfUsers,
  "empty MongoDB": () => {},
  /** Two documents as the Python program writes them, with their keys in plain text. */
  "Python documents in MongoDB": async ({ mongodb = "" }) => {
    const client = new MongoClient(mongodb);
    const written = new Date("2025-10-05T09:00:00Z");
    const document = { provider: PROVIDER, source: "manual", created_at: written, updated_at: written };
    await client
      .db()
      .collection("api_keys")
      .insertMany([
        { ...document, user_id: new ObjectId(USER), key_encrypted: KEY },
        { ...document, user_id: "alice", key_encrypted: OTHER },
      ]);
    await client.close();
  },
  /** The users of `users`, in MongoDB; all secrets are in files. */
  "keys in MongoDB": async (scene) => {
    const env = { KEYCTL_STORE_FILE: join(scene.secrets, STORE) };
    await given(scene, ["rekey", "--init"], env);
    for (const user of ["alice", "bob", "carol"])
      await given(scene, ["provision", "--user", user, "--limit", "5"], env);
  },
};

export function needsMongodb(name: string): boolean {
  return name.includes("MongoDB");
}

export async function sceneOf(name: string): Promise<Scene> {
  const prepare = GIVEN[name];
  if (prepare === undefined) throw new Error(`there is no home '${name}'`);
  const home = emptyHome();
  const server = await mockOpenRouter();
  server.addKey(KEY, { limit: 10 });
  const secrets = join(home.folder, "secrets");
  mkdirSync(secrets, { mode: 0o700 });
  const mongodb = needsMongodb(name) ? databaseOfTest().uri : undefined;
  if (mongodb !== undefined) secret(secrets, STORE, mongodb);
  secret(secrets, MANAGEMENT_KEY, server.managementKey);
  writeFileSync(join(home.work, "users.txt"), "alice\nbob\ncarol\n");
  writeFileSync(join(home.work, "leavers.txt"), "bob\n");
  writeFileSync(join(home.work, "keys.csv"), `user,key\ndave,${OTHER}\n`, { mode: 0o600 });
  writeFileSync(join(home.work, "app.js"), "");
  const env = {
    KEYCTL_OPENROUTER_URL: server.url,
    // A server reads them from files.
    ...(name === "keys in MongoDB"
      ? {
          OPENROUTER_PROVISIONING_KEY_FILE: join(secrets, MANAGEMENT_KEY),
          KEYCTL_MASTER_KEYS_FILE: join(secrets, MASTER_KEYS),
        }
      : { OPENROUTER_PROVISIONING_KEY: server.managementKey }),
    // The server of the tests may be FerretDB 1.
    ...(mongodb === undefined ? {} : { KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" }),
    // As for most people: the folders below the home.
    XDG_DATA_HOME: "",
    XDG_CONFIG_HOME: "",
    XDG_STATE_HOME: "",
  };
  const scene = { home, env, secrets, mongodb };
  await prepare(scene);
  return scene;
}

async function keysOfUsers(scene: Scene): Promise<void> {
  for (const user of ["alice", "bob", "carol"]) await given(scene, ["provision", "--user", user, "--limit", "5"]);
  keyFile(scene);
}

function keyFile({ home }: Scene): void {
  home.writeKeyFile(KEY);
}

function secret(folder: string, name: string, value: string): void {
  writeFileSync(join(folder, name), `${value}\n`, { mode: 0o600 });
}

async function given({ home, env }: Scene, args: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const done = await inProcess(home, args, { env: { ...env, ...more } });
  if (done.code !== 0) throw new Error(`what was given did not work: ${done.stderr}`);
  return done;
}

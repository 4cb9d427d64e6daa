import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseUserId } from "../../src/core/model/user-id.ts";
import type { SpooledKey } from "../../src/core/ports/spool.ts";
import { fileSpool } from "../../src/stores/file-spool.ts";
import { withDatabase } from "./database.ts";
import type { Home } from "./home.ts";
import { deploymentOf, withStore } from "./stage.ts";
import type { Stage } from "./stage.ts";

const ALICE = parseUserId("alice");

export const spoolFolderOf = (home: Home) => join(home.folder, "state", "keyctl", "spool");
export const spoolFilesOf = (home: Home) => (existsSync(spoolFolderOf(home)) ? readdirSync(spoolFolderOf(home)) : []);

/** Alice's key, created and never stored, in a file. */
export async function spooled(all: Stage, change: Partial<SpooledKey> = {}): Promise<void> {
  const { home, given } = all;
  await given("sync --user alice");
  const deployment = await deploymentOf(home);
  const row = await withStore(home, (store, signal) => store.find(ALICE, signal));
  if (row === undefined || row.keyHash === null || row.keyTail === null) throw new Error("there is no key");
  await withDatabase(home, (database) =>
    database.exec("DELETE FROM api_keys; DELETE FROM api_key_journal WHERE _id LIKE '%:out:%'"),
  );
  const { userId, generation: n, keyEncrypted, keyHash, keyTail, origin, createdAt } = row;
  const { name, label, limit, limitReset, expiresAt, upstreamHash } = row;
  const terms = { name, label, limit, limitReset, expiresAt, upstreamHash };
  const key = { deployment, userId, n, sent: false, keyEncrypted, keyHash, keyTail, origin, createdAt, ...terms };
  await fileSpool(spoolFolderOf(home)).write({ ...key, ...change });
}

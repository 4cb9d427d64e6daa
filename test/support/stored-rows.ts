import { existsSync } from "node:fs";
import { decodeProtectedHeader } from "jose";
import { withDatabase } from "./database.ts";
import type { Home } from "./home.ts";

/** Everything that is stored; the same text means that nothing was written. */
export async function allThatIsStored(home: Home): Promise<string> {
  if (!existsSync(home.database)) return "nothing";
  return withDatabase(home, (database) =>
    JSON.stringify(
      ["api_keys", "api_key_meta", "api_key_journal"].map((table) =>
        database.prepare(`SELECT * FROM ${table} ORDER BY _id`).all(),
      ),
    ),
  );
}

/** The sealed value of each user. */
export async function sealedValues(home: Home): Promise<ReadonlyMap<string, string>> {
  const rows = await withDatabase(home, (database) =>
    database.prepare("SELECT user_id, key_encrypted FROM api_keys ORDER BY user_id").all(),
  );
  return new Map(rows.map((row) => [String(row["user_id"]), String(row["key_encrypted"])]));
}

export async function writeSealedValue(home: Home, user: string, value: string): Promise<void> {
  await withDatabase(home, (database) =>
    database.prepare("UPDATE api_keys SET key_encrypted = ? WHERE user_id = ?").run(value, user),
  );
}

/** The master keys that rows and check records are sealed with, each once. */
export async function masterKeysInUse(home: Home): Promise<readonly (string | undefined)[]> {
  const checks = await withDatabase(home, (database) =>
    database.prepare("SELECT value FROM api_key_meta WHERE _id GLOB 'check:*'").all(),
  );
  const values = [...(await sealedValues(home)).values(), ...checks.map((row) => String(row["value"]))];
  return [...new Set(values.map((value) => decodeProtectedHeader(value).kid))];
}

import type { Home } from "./home.ts";
import { change, rowsOf } from "./database-file.ts";
import type { OpenRouterServer } from "./openrouter-server.ts";

/** As if everything in the journal had been written two minutes ago: no operation is fresh any more. */
export function ageOperations({ database }: Pick<Home, "database">): void {
  change(
    database,
    "UPDATE api_key_journal SET at = strftime('%Y-%m-%dT%H:%M:%fZ', at, '-120 seconds') WHERE _id GLOB '*:op:*'",
  );
}

/** The live keys upstream that bear the name of some keyctl. */
export function madeKeys({ keys }: Pick<OpenRouterServer, "keys">): readonly string[] {
  return [...keys.values()].flatMap(({ hash, name, disabled }) =>
    name.startsWith("keyctl/") && !disabled ? [hash] : [],
  );
}

export interface StoredKey {
  readonly user: string;
  readonly hash: string;
  readonly generation: number;
  readonly settled: boolean;
}

export function storedKeys({ database }: Pick<Home, "database">): readonly StoredKey[] {
  return rowsOf(database, "SELECT user_id, key_hash, generation, settled FROM api_keys ORDER BY user_id").map(
    ({ user_id, key_hash, generation, settled }) => ({
      user: String(user_id),
      hash: String(key_hash),
      generation: Number(generation),
      settled: settled === 1,
    }),
  );
}

import type { Home } from "./home.ts";
import { change } from "./database-file.ts";

/** As if everything in the journal had been written two minutes ago: no operation is fresh any more. */
export function ageOperations({ database }: Pick<Home, "database">): void {
  change(
    database,
    "UPDATE api_key_journal SET at = strftime('%Y-%m-%dT%H:%M:%fZ', at, '-120 seconds') WHERE _id GLOB '*:op:*'",
  );
}

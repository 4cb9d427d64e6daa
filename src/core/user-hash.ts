import { hash } from "node:crypto";
import type { UserId } from "./user-id.ts";

/** Lowercase hex SHA-256 of an id: where a user stands in the journal, and whose a key is by its name upstream. */
export function userHash(user: UserId): string {
  return hash("sha256", user, "hex");
}

// Saves a different key for each user with the library, in the environment's store.
// Usage: save-many.mjs <number of users>
import { KeyManager } from "../dist/library/index.js";
import { keyOf, userId } from "./sealed-rows.mjs";

const keys = await KeyManager.open();
for (let index = 0; index < Number(process.argv[2]); index += 1) {
  const { error } = await keys.saveKeyToDb(userId(index), keyOf(index));
  if (error !== null) throw error;
}
await keys.close();

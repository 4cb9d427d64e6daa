// A server that uses the library: it opens the store once, then reads keys of these users until its input ends. It
// reports each failed read with its error, each wrong key and, at the end, the number of reads.
import { createHash, randomInt } from "node:crypto";
import { KeyManager } from "../../../dist/library/index.js";

const hashes = JSON.parse(process.argv[2]);
const users = Object.keys(hashes);
process.stdin.resume();

const keys = await KeyManager.open();
let reads = 0;
while (!process.stdin.readableEnded) {
  const user = users[randomInt(users.length)];
  const { key, error } = await (reads % 2 === 0 ? keys.getStoredKey(user) : keys.syncAndGetKey(user));
  reads += 1;
  if (error !== null) console.log(`${user}: ${error.code}: ${error.message}`);
  else if (createHash("sha256").update(key.reveal()).digest("hex") !== hashes[user])
    console.log(`${user}: another key`);
  await new Promise((resolve) => setTimeout(resolve, 1));
}
console.log(`reads ${reads}`);
await keys.close();

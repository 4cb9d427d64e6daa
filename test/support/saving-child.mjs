// A program that uses the library: it opens the store, then saves new keys for these users, or removes them, until it
// is stopped. It says what it is about to do and what is done; a line is written before the next thing begins.
import { createHash, randomBytes, randomInt } from "node:crypto";
import { writeSync } from "node:fs";
import { KeyManager } from "../../dist/library/index.js";

const users = process.argv.slice(2);
const say = (...words) => writeSync(1, `${words.join(" ")}\n`);

const keys = await KeyManager.open();
say("opened");
for (;;) {
  const user = users[randomInt(users.length)];
  const key = `sk-or-v1-${"5ec7e7".repeat(8)}${randomBytes(8).toString("hex")}`;
  const removes = randomInt(8) === 0;
  const outcome = removes ? "nothing" : createHash("sha256").update(key).digest("hex");
  say("begin", user, outcome);
  const { error } = await (removes ? keys.purge(user) : keys.saveKeyToDb(user, key));
  say(error === null ? "done" : error.code, user, outcome);
}

// A program that uses the library: it opens the store, then saves new keys for these users until its input ends. With
// the task "changes" it also removes keys. It reports each change before it begins and when it is done; each line is
// written before the next step begins.
import { createHash, randomBytes, randomInt } from "node:crypto";
import { writeSync } from "node:fs";
import { KeyManager } from "../../../dist/library/index.js";

const [task, ...users] = process.argv.slice(2);
const say = (...words) => writeSync(1, `${words.join(" ")}\n`);
process.stdin.resume();

const keys = await KeyManager.open();
say("opened");
while (!process.stdin.readableEnded) {
  const user = users[randomInt(users.length)];
  const key = `sk-or-v1-${"5ec7e7".repeat(8)}${randomBytes(8).toString("hex")}`;
  const removes = task === "changes" && randomInt(8) === 0;
  const outcome = removes ? "nothing" : createHash("sha256").update(key).digest("hex");
  say("begin", user, outcome);
  const { error } = await (removes ? keys.purge(user) : keys.saveKeyToDb(user, key));
  // CONFLICT: the race was lost five times in a row, and nothing was changed.
  say(error === null ? "done" : error.code === "CONFLICT" ? "lost" : error.message, user, outcome);
  await new Promise((resolve) => setImmediate(resolve));
}
await keys.close();

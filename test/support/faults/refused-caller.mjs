// A program that uses the library for many calls at the same time with the key of one user. Standard input begins them. It prints
// one line about each call: its status, whether its key was renewed, and the code of a renewal that failed.
import { once } from "node:events";
import { writeSync } from "node:fs";
import { KeyManager } from "../../../dist/library/index.js";

const [user, url, calls] = process.argv.slice(2);
const say = (...words) => writeSync(1, `${words.join(" ")}\n`);

/** In place of a model: a request that OpenRouter refuses with a key that is dead. */
const call = (key, { signal }) => fetch(`${url}/key`, { headers: { authorization: `Bearer ${key}` }, signal });

const keys = await KeyManager.open();
// The store is open, and the key was read once.
await keys.syncAndGetKey(user);
say("ready");
await once(process.stdin, "data");
await Promise.all(
  Array.from({ length: Number(calls) }, async () => {
    const { value, autoRenewed, autoRenewalError } = await keys.withUserKey(user, call);
    say("answered", value.status, autoRenewed, autoRenewalError?.code ?? "-");
  }),
);
await keys.close();
process.exit(0);

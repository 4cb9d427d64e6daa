// A program that uses the library for many calls at the same time with the key of one user. Standard input begins them. It prints
// one JSON line about each call: its status, how often it was made, whether its key was renewed, and the code of a renewal that
// failed.
import { once } from "node:events";
import { writeSync } from "node:fs";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { KeyManager } from "../../../dist/library/index.js";

const { user, url, callers, rounds, renewDisabled } = JSON.parse(process.argv[2]);
const say = (line) => writeSync(1, `${JSON.stringify(line)}\n`);
const body = JSON.stringify({ model: "mock/model", messages: [{ role: "user", content: "Hello" }] });

/** Each request has a connection of its own: one that was kept may be closed at the other end while this process waits for its turn. */
async function ask(key, signal) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const asked = request(`${url}/chat/completions`, { method: "POST", headers, signal, agent: false });
  asked.end(body);
  const [answer] = await once(asked, "response");
  return new Response(await text(answer), { status: answer.statusCode, headers: answer.headers });
}

async function oneCall() {
  let attempts = 0;
  const call = (key, { signal }) => {
    attempts += 1;
    return ask(key, signal);
  };
  const { value, autoRenewed, autoRenewalError } = await keys.withUserKey(user, call, { renewDisabled });
  await value.arrayBuffer();
  say({ status: value.status, attempts, autoRenewed, code: autoRenewalError?.code ?? null });
}

const keys = await KeyManager.open();
// The store is open, and the key was read once.
await keys.syncAndGetKey(user);
say("ready");
await once(process.stdin, "data");
for (let round = 0; round < rounds; round += 1) await Promise.all(Array.from({ length: callers }, oneCall));
await keys.close();
process.exit(0);

// A program that uses the stored keys of many users: it asks OpenRouter with each of them in turn, again and again, and reads a
// stored key again after READ_AGAIN_MS. It ends with its standard input, and prints what happened.
const { KEYCTL_LIBRARY, KEYCTL_OPENROUTER_URL, USERS = "", READ_AGAIN_MS = "0", AT_ONCE = "8" } = process.env;
const { KeyManager } = await import(KEYCTL_LIBRARY);
const keys = await KeyManager.open();
const users = USERS.split(",");
const againMs = Number(READ_AGAIN_MS);
const held = new Map();
const told = { calls: 0, reads: 0, refusals: [], refusedTwice: [] };
const over = new AbortController();
process.stdin.resume().on("end", () => over.abort());

async function read(user) {
  const readAt = Date.now();
  const { key, error } = await keys.getStoredKey(user);
  if (error) throw error;
  told.reads += 1;
  held.set(user, { key, readAt });
  return held.get(user);
}

async function isAccepted({ key }) {
  const headers = { authorization: `Bearer ${key.reveal()}` };
  // A connection that the server has closed says nothing about the key.
  const ask = () => fetch(`${KEYCTL_OPENROUTER_URL}/key`, { headers });
  const response = await ask().catch(ask);
  await response.arrayBuffer();
  told.calls += 1;
  return response.status === 200;
}

async function use(user) {
  const known = held.get(user);
  const one = known === undefined || Date.now() - known.readAt >= againMs ? await read(user) : known;
  if (await isAccepted(one)) return;
  told.refusals.push(`${user}, whose key was read ${Date.now() - one.readAt} ms before`);
  if (!(await isAccepted(await read(user)))) told.refusedTwice.push(user);
}

let next = 0;
const work = async () => {
  while (!over.signal.aborted) {
    next += 1;
    await use(users[next % users.length]);
  }
};
await Promise.all(Array.from({ length: Number(AT_ONCE) }, work));
await keys.close();
console.log(JSON.stringify(told));

// analysis.ts with the openai package in place of fetch. The client's own retries are off, because keyctl repeats the call:
//   node analysis-with-openai.ts <user> <text>…
import { KeyManager, renewalFields } from "keyctl";
import OpenAI from "openai";

const baseURL = process.env["KEYCTL_OPENROUTER_URL"] ?? "https://openrouter.ai/api/v1";
const [user = "", ...texts] = process.argv.slice(2);
const keys = await KeyManager.open({ log: "stderr" });
try {
  for (const text of texts) console.log(JSON.stringify(await analysis(text)));
} finally {
  await keys.close();
}

async function analysis(text: string) {
  const result = await keys.withUserKey(user, (key, { signal }) => ask(key, text, signal), { timeoutMs: 60_000 });
  return { text, status: 200, answer: result.value, ...renewalFields(result) };
}

/** Throws the client's error for every other status than 200. withUserKey reads its status and its body. */
async function ask(apiKey: string, text: string, signal: AbortSignal): Promise<string> {
  const client = new OpenAI({ apiKey, baseURL, maxRetries: 0 });
  const { choices } = await client.chat.completions.create(
    { model: "openai/gpt-5-mini", messages: [{ role: "user", content: `Analyse this text: ${text}` }] },
    { signal },
  );
  return choices[0]?.message.content ?? "";
}

// Asks a model about each text with the key of one user, which is renewed if it dies meanwhile:
//   node analysis.ts <user> <text>…
import { KeyManager, renewalFields } from "keyctl";

const API = process.env["KEYCTL_OPENROUTER_URL"] ?? "https://openrouter.ai/api/v1";
const [user = "", ...texts] = process.argv.slice(2);
const keys = await KeyManager.open({ log: "stderr" });
try {
  for (const text of texts) console.log(JSON.stringify(await analysis(text)));
} finally {
  await keys.close();
}

async function analysis(text: string) {
  const result = await keys.withUserKey(user, (key, { signal }) => ask(key, text, signal), { timeoutMs: 60_000 });
  const { status } = result.value;
  const answer = status === 200 ? contentOf(await result.value.json()) : null;
  return { text, status, answer, ...renewalFields(result) };
}

function ask(key: string, text: string, signal: AbortSignal): Promise<Response> {
  const messages = [{ role: "user", content: `Analyse this text: ${text}` }];
  return fetch(`${API}/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "openai/gpt-5-mini", messages }),
    signal,
  });
}

function contentOf(completion: unknown): string {
  return (completion as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
}

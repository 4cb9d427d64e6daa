import { inspect } from "node:util";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { ManagementKey } from "../../../src/core/model/management-key.ts";
import { parseBaseUrl } from "../../../src/openrouter/http/base-url.ts";
import { openRouter } from "../../../src/openrouter/client.ts";
import { deadlineIn } from "../../../src/core/async/deadline.ts";

// A process that makes every call to OpenRouter with the settings of its environment, and prints every result in all
// the ways in which a user might print it.
const environment = process.env;
const baseUrl = parseBaseUrl(environment["TEST_URL"] ?? "");
const key = ApiKey.parse(environment["TEST_KEY"] ?? "");
const managementKey = ManagementKey.parse(environment["TEST_MANAGEMENT_KEY"] ?? "");
if ("problem" in baseUrl || key === undefined || managementKey === undefined) throw new Error("something is not set");

const client = openRouter({
  baseUrl,
  environment,
  clock: { now: () => new Date() },
  wait: async () => undefined,
  onWait: (pause) => console.error(pause),
});
const upstream = client.withManagementKey(managementKey);
const budget = () => deadlineIn(10_000, new AbortController().signal);
const terms = { limit: 1, limitReset: null, expiresAt: null, includeByokInLimit: null, workspace: null };
const request = { name: "keyctl/test", ...terms };
const [guardrail, credential] = ["a-guardrail", "a-credential"];
const first = (pages: AsyncIterable<unknown>) => pages[Symbol.asyncIterator]().next();
const calls = {
  checkKey: () => client.checkKey(key, budget()),
  checkManagementKey: () => client.checkKey(managementKey, budget()),
  reach: () => client.reach(budget()),
  create: () => upstream.create(request, budget()),
  find: () => upstream.find(key.hash, budget()),
  disable: () => upstream.disable(key.hash, budget()),
  list: () => first(upstream.list({ kind: "everywhere" }, budget)),
  setLimit: () => upstream.setLimit(key.hash, 2, budget()),
  guardrailAssignments: () => first(upstream.guardrailAssignments(budget)),
  assignGuardrail: () => upstream.assignGuardrail(guardrail, key.hash, budget()),
  unassignGuardrail: () => upstream.unassignGuardrail(guardrail, key.hash, budget()),
  allowLists: () => first(upstream.allowLists([null], budget)),
  setAllowedKeys: () => upstream.setAllowedKeys(credential, [key.hash], budget()),
  remove: () => upstream.remove(key.hash, budget()),
  activity: () => upstream.activity(key.hash, budget()),
  credits: () => upstream.credits(budget()),
};
for (const [name, call] of Object.entries(calls)) {
  try {
    const result = await call();
    const status = "status" in result ? result.status : "iterated";
    console.log(JSON.stringify({ name, status }));
    console.error(name, inspect(result, { depth: null, showHidden: true }), JSON.stringify(result));
  } catch (thrown) {
    console.log(JSON.stringify({ name, status: "rejected" }));
    console.error(name, inspect(thrown, { depth: null, showHidden: true }), String(thrown));
  }
}
console.error(inspect(client, { depth: null, showHidden: true }), inspect(upstream, { depth: null, showHidden: true }));
await client.close();

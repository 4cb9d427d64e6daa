import { randomUUID } from "node:crypto";
import type { Accounts, MockAccount } from "./accounts.ts";
import type { KeyRecords } from "./keys.ts";
import { pageOf } from "./routes.ts";
import type { Answers, Call, Reply } from "./routes.ts";
import { CREATOR, error, fieldsOf, hashesIn, ok, zodError } from "./shapes.ts";

interface Assignment {
  readonly id: string;
  readonly guardrail: string;
  readonly createdAt: string;
}

interface GuardrailOptions {
  readonly now: () => number;
  readonly accounts: Accounts;
  readonly records: KeyRecords;
  readonly pages: { readonly pageSize: number; readonly ignoresOffset: boolean };
}

type GuardrailRoute =
  | "GET /guardrails/assignments/keys"
  | "POST /guardrails/{id}/assignments/keys"
  | "POST /guardrails/{id}/assignments/keys/remove";

/** The guardrails and the keys that have one; a key has at most one. */
export function guardrailRecords({ now, accounts, records, pages }: GuardrailOptions) {
  /** The accounts that own the guardrails, by the guardrails' ids. */
  const owners = new Map<string, MockAccount>();
  /** By the hashes of the keys. */
  const assignments = new Map<string, Assignment>();

  function add(owner: MockAccount = accounts.account): string {
    const id = randomUUID();
    owners.set(id, owner);
    return id;
  }

  function assign(guardrail: string, hash: string): void {
    if (assignments.get(hash)?.guardrail === guardrail) return;
    // Deleted first, so that the new one is the last.
    assignments.delete(hash);
    assignments.set(hash, { id: randomUUID(), guardrail, createdAt: new Date(now()).toISOString() });
  }

  function list({ token, query }: Call): Reply {
    const own = [...assignments].flatMap(([hash, { id, guardrail, createdAt }]) => {
      const key = records.ownBy(token, hash);
      if (key === undefined) return [];
      const names = { key_hash: hash, key_name: key.name, key_label: key.label };
      return [{ id, guardrail_id: guardrail, ...names, assigned_by: CREATOR, created_at: createdAt }];
    });
    return ok({ data: pageOf(own.toReversed(), query, pages), total_count: own.length });
  }

  /** Changes the keys of a guardrail. A hash without a key is passed over, and is not counted. */
  function change(call: Call, count: string, apply: (hash: string) => boolean): Reply {
    const { id, token, body } = call;
    const owner = owners.get(id);
    if (owner === undefined || owner !== accounts.accountOf(token)) return error(404, "Resource not found");
    const hashes = hashesIn(fieldsOf(body)["key_hashes"]);
    if (hashes === undefined) return zodError([{ path: "key_hashes", problem: "Invalid input: expected array" }]);
    const changed = hashes.filter((hash) => records.ownBy(token, hash) !== undefined && apply(hash));
    return ok({ [count]: changed.length });
  }

  const routes: Answers<GuardrailRoute> = {
    "GET /guardrails/assignments/keys": list,
    "POST /guardrails/{id}/assignments/keys": (call) =>
      change(call, "assigned_count", (hash) => {
        assign(call.id, hash);
        return true;
      }),
    "POST /guardrails/{id}/assignments/keys/remove": (call) =>
      change(
        call,
        "unassigned_count",
        (hash) => assignments.get(hash)?.guardrail === call.id && assignments.delete(hash),
      ),
  };
  return { routes, assignments, assign, add };
}

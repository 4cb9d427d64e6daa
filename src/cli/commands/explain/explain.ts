import type { Command } from "commander";
import type { KeyctlError } from "../../../core/model/errors.ts";
import { toKeyctlError } from "../../../core/async/deadline.ts";
import { isFromFuture } from "../../../core/model/clock-skew.ts";
import { explainFailed } from "../../../core/model/results.ts";
import type { Explanation, Step } from "../../../core/model/results.ts";
import { formatAge } from "../../format-duration.ts";
import { showExplanation } from "./view.ts";
import { userDocument } from "../../invocation.ts";
import type { Invocation, KeyPlaces, Session, Run } from "../../invocation.ts";
import { addUserOption, oneUser } from "../../bulk/selection.ts";
import { showResult } from "../../terminal/end-of-run.ts";

export function configureCommand(command: Command, run: Run): void {
  addUserOption(command, "whose key")
    .addHelpText(
      "after",
      `
Shows every source in the order in which sync asks them, what it holds, which
one wins and why, and what sync would do. Writes nothing, and makes no store.
Exits as that sync would: 0 where the user would have a key.

Examples:
  keyctl explain --user alice
  keyctl explain --user alice --key-file /srv/app/key.txt
  keyctl explain --user alice --json | jq -r .winner`,
    )
    .action(run((invocation, { user }: { user?: readonly string[] }) => explain(invocation, oneUser("explain", user))));
}

/** Null if the configuration was refused: nothing was opened. */
type Place = Pick<Session, "store" | "storeExists" | "keyFile"> | null;

async function explain(invocation: Invocation, user: string): Promise<KeyctlError | null> {
  const { terminal, receivedSignal } = invocation;
  const { explanation, place } = await attempt(invocation, user);
  const { error } = explanation;
  const details = explanation.steps.map((step) => detailOf(step, explanation, place, invocation.keyPlaces));
  return showResult(terminal, error, null, async () => {
    if (terminal.options.json) {
      const store = place?.store.name ?? null;
      await terminal.document(userDocument(document(explanation, details, store), error, receivedSignal()));
    } else if (place !== null && details.length > 0) await showExplanation(invocation, explanation, details, place);
  });
}

async function attempt(invocation: Invocation, user: string): Promise<{ explanation: Explanation; place: Place }> {
  const { withManager, signal } = invocation;
  try {
    return await withManager(
      { mayCreateStore: false, storeMayFail: true, logs: "none" },
      async ({ manager, ...place }) => ({ explanation: await manager.explain(user, { signal }), place }),
    );
  } catch (thrown) {
    return { explanation: explainFailed(user, toKeyctlError(thrown)), place: null };
  }
}

function document(
  { userId, winner, steps, warnings }: Explanation,
  details: readonly (string | null)[],
  store: string | null,
): object {
  return {
    user_id: userId,
    winner,
    steps: steps.map(({ source, state, key, keyHash }, index) => ({
      source,
      state,
      key,
      key_hash: keyHash,
      detail: details[index] ?? null,
    })),
    store,
    warnings,
  };
}

function ageOf(createdAt: string): string {
  const now = Date.now();
  return isFromFuture(createdAt, now) ? "of unknown age" : formatAge(now - Date.parse(createdAt));
}

/** The place of the source, and the reason for its state. */
function detailOf(
  { source, state, reason }: Step,
  { stored }: Explanation,
  place: Place,
  { environment }: KeyPlaces,
): string | null {
  if (source === "auto-provisioned") return reason;
  if (source === "database") {
    const absent = place?.storeExists === false ? "no store exists yet" : "no key for this user";
    const row = stored === null ? null : `${stored.origin}, ${ageOf(stored.createdAt)}`;
    return state === "absent" ? absent : [row, reason].filter((part) => part !== null).join("; ");
  }
  const variable = environment.kind === "file" ? "OPENROUTER_API_KEY_FILE" : environment.name;
  const name = source === "key.txt" ? (place?.keyFile ?? source) : variable;
  if (reason === null) return name;
  return reason.startsWith("OPENROUTER_API_KEY") ? reason : `${name}: ${reason}`;
}

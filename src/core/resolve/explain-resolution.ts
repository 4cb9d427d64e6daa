import { databaseStep, creationStep, outsideStep, winnerOf } from "./explanation-steps.ts";
import { foresee } from "./preview-decision.ts";
import type { Foresight, Outcome } from "./preview-decision.ts";
import { warningsOf } from "../protocol/provision-key.ts";
import type { Explanation, Forecast } from "../model/results.ts";
import { storedKeyWarnings } from "../model/stored-key-warnings.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";
import type { Warning } from "../model/warning.ts";

/** The result of `foresee` in words. */
export async function explain(
  user: UserId,
  context: Context,
  autoProvision: boolean,
  signal: AbortSignal,
): Promise<Explanation> {
  const foresight = await foresee(user, context, autoProvision, signal);
  const { stored, candidates, outcome } = foresight;
  const winner = winnerOf(foresight);
  return {
    userId: user,
    winner,
    steps: [
      databaseStep(stored),
      ...candidates.all.map((each) => outsideStep(each, foresight)),
      creationStep(foresight),
    ],
    stored: stored.row === undefined ? null : { origin: stored.row.origin, createdAt: stored.row.createdAt },
    sync: forecastOf(outcome),
    warnings: [...candidates.warnings, ...warningsOfSync(foresight, context.clock.now().getTime())],
    error: outcome.kind === "fails" ? outcome.error : null,
  };
}

/** The warnings that sync would add to those of the sources. */
function warningsOfSync({ outcome, stored }: Foresight, now: number): readonly Warning[] {
  if (outcome.kind === "create") return warningsOf(outcome.terms);
  return stored.kind === "held" ? storedKeyWarnings(stored.row, now, stored.keyHash) : [];
}

function forecastOf(outcome: Outcome): Forecast {
  switch (outcome.kind) {
    case "fails":
      return { kind: "fails", error: outcome.error };
    case "keep":
      return { kind: "keeps" };
    case "save":
      return { kind: "saves", from: outcome.from };
    case "create":
      return { kind: "makes" };
  }
}

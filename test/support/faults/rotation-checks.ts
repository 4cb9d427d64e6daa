import { madeKeys, stored } from "../openrouter/made-keys.ts";
import type { Stage } from "../openrouter/made-keys.ts";
import type { UserTrace } from "../recording/runs.ts";

/**
 * The keys that died before their grace was over, and whose early death nobody decided.
 * @param killed the hashes of the keys that a person has taken out of use at OpenRouter
 */
export async function earlyDeaths(
  stage: Stage,
  killed: Pick<ReadonlySet<string>, "has"> = new Set(),
): Promise<readonly string[]> {
  const alive = new Set(madeKeys(stage.openRouter));
  const now = new Date().toISOString();
  const { graces } = await stored(stage);
  return graces.flatMap(({ user, n, hash, retireAt, endedAt }) =>
    endedAt === null && retireAt > now && !alive.has(hash) && !killed.has(hash)
      ? [`key ${n} of ${user} died before ${retireAt}`]
      : [],
  );
}

/**
 * The graces that were ended before their time, though no command that ends them was run.
 * @param containsLeak whether a `leaked` about a key of this user was under way at this time
 */
export async function endedEarly(
  stage: Stage,
  traces: readonly UserTrace[],
  containsLeak: (user: string, at: string) => boolean,
): Promise<readonly string[]> {
  const { graces } = await stored(stage);
  const ending = traces.flatMap(({ user, options, trace }) =>
    options.revoke === "no"
      ? []
      : trace.flatMap(({ access, generation }) =>
          access === "journal.insert del" ? [`${user} ${String(generation)}`] : [],
        ),
  );
  return graces.flatMap(({ user, n, retireAt, endedAt }) =>
    endedAt !== null && endedAt < retireAt && !ending.includes(`${user} ${n}`) && !containsLeak(user, endedAt)
      ? [`the grace of key ${n} of ${user} was ended at ${endedAt}, before ${retireAt}`]
      : [],
  );
}

/** The users whose key is to have a guardrail and has not. */
export async function lostGuardrails(stage: Stage): Promise<readonly string[]> {
  const { rows } = await stored(stage);
  const guarded = stage.openRouter.guardrails();
  return rows.flatMap(({ user, hash, restrictions }) =>
    (restrictions?.guardrails ?? []).every((guardrail) => guarded.get(hash) === guardrail)
      ? []
      : [`the key of ${user} has lost its guardrail`],
  );
}

/** What is left when all graces are over and all limits were reset. */
export async function unfinishedRotations(stage: Stage, limit: number): Promise<readonly string[]> {
  const { rows, graces } = await stored(stage);
  const { openRouter } = stage;
  const alive = new Set(madeKeys(openRouter));
  return [
    ...graces.flatMap(({ user, n, hash }) => (alive.has(hash) ? [`key ${n} of ${user} has outlived its grace`] : [])),
    ...rows.flatMap(({ user, generation, hash, limitDue }) => {
      const now = openRouter.keys.get(hash)?.limit;
      return generation === 0 || (now === limit && limitDue === null)
        ? []
        : [`the key of ${user} has the limit ${now}`];
    }),
  ];
}

import type { Stage } from "../openrouter/made-keys.ts";
import { madeKeys, stored } from "../openrouter/made-keys.ts";
import type { Given } from "../recording/keyctl.ts";
import { kill } from "./deaths.ts";
import { happened, USER } from "./kills.ts";
import type { KillScene } from "./kills.ts";
import { leftovers, reconcileUntilQuiet } from "./recovery-checks.ts";
import { earlyDeaths } from "./rotation-checks.ts";

const LIMIT = 10;
const SPENT = 6.8;
const ROTATE = ["rotate", "--user", USER] as const;

/** The commands of rotations. In each scene the user's keys are restricted, and most of their limit is spent. */
export const ROTATION_SCENES = {
  rotate: { given: { args: ROTATE }, before: withRestrictedKey, problems: rotationProblems },
  "rotate --grace 0": {
    given: { args: [...ROTATE, "--grace", "0"] },
    before: withGrace,
    problems: rotationProblems,
  },
  "rotate --finish": { given: { args: ["rotate", "--finish"] }, before: withDuties, problems: rotationProblems },
  leaked: { given: leakedKey, before: withGrace, isRepeated: true, problems: leakProblems },
  "leaked of a key in its grace": {
    given: leakedEarlierKey,
    before: withGrace,
    isRepeated: true,
    problems: leakProblems,
  },
  renew: {
    given: { args: ["renew", "--user", USER] },
    before: withDeadKey,
    isRepeated: true,
    problems: renewalProblems,
  },
  "rotate after the reset": { given: { args: ROTATE }, before: withDuties, problems: rotationProblems },
} as const satisfies Readonly<Record<string, KillScene>>;

async function withRestrictedKey(stage: Stage): Promise<void> {
  await happened(stage, ["provision", "--user", USER, "--limit", String(LIMIT), "--limit-reset", "monthly"]);
  const { openRouter } = stage;
  const hashes = madeKeys(openRouter);
  const guardrail = openRouter.addGuardrail();
  for (const hash of hashes) openRouter.assignGuardrail(guardrail, hash);
  for (const hash of hashes) openRouter.spend(hash, SPENT);
  openRouter.addCredential({ allowedKeys: hashes });
}

async function withGrace(stage: Stage): Promise<void> {
  await withRestrictedKey(stage);
  await happened(stage, ROTATE);
}

/** The key of the user leaked. */
async function leakedKey(stage: Stage): Promise<Given> {
  const [row] = (await stored(stage)).rows;
  return { args: ["leaked", "--hash", row?.hash ?? ""] };
}

async function leakedEarlierKey(stage: Stage): Promise<Given> {
  const [grace] = (await stored(stage)).graces;
  return { args: ["leaked", "--hash", grace?.hash ?? ""] };
}

/** The key in use was deleted at OpenRouter; the one before it is in its grace. */
async function withDeadKey(stage: Stage): Promise<void> {
  await withGrace(stage);
  await stage.ageKeys();
  const [row] = (await stored(stage)).rows;
  kill(stage.openRouter, row?.hash ?? "", "deleted");
}

/** A grace is over, and the time of a lowered limit has come. */
async function withDuties(stage: Stage): Promise<void> {
  await withGrace(stage);
  await stage.passGraces();
}

/** What must hold at rest while graces last, and after them. */
async function rotationProblems(stage: Stage): Promise<readonly string[]> {
  const within = [...(await earlyDeaths(stage)), ...unrestrictedKeys(stage)];
  await stage.passGraces();
  await reconcileUntilQuiet(stage);
  const keys = madeKeys(stage.openRouter);
  return [
    ...within,
    ...(await leftovers(stage)),
    ...unrestrictedKeys(stage),
    ...(keys.length === 1 ? [] : [`${keys.length} keys are alive after the grace`]),
    ...loweredLimits(stage),
  ];
}

/** The `leaked` was repeated: the key works no more. */
async function leakProblems(stage: Stage, { args }: Given): Promise<readonly string[]> {
  const alive = madeKeys(stage.openRouter).filter((hash) => args.includes(hash));
  return [...alive.map((hash) => `the leaked key is alive: ${hash}`), ...(await rotationProblems(stage))];
}

/** The renewal was repeated: one key was replaced, by one key, and the row says so. */
async function renewalProblems(stage: Stage): Promise<readonly string[]> {
  const { rows, journal } = await stored(stage);
  const saved = journal.filter((entry) => entry.kind === "out" && entry.outcome === "saved").length;
  return [
    // Those of the provision, of the rotation, and of the renewal.
    ...(saved === 3 ? [] : [`${saved} keys have come into use`]),
    ...rows.flatMap(({ user, autoRenewed, lastRenewalAt }) =>
      autoRenewed && lastRenewalAt !== null ? [] : [`the row of ${user} does not say that it was renewed`],
    ),
    ...(await rotationProblems(stage)),
  ];
}

function unrestrictedKeys({ openRouter }: Stage): readonly string[] {
  const guarded = openRouter.guardrails();
  const lists = [...openRouter.credentials.values()];
  return madeKeys(openRouter).flatMap((hash) => [
    ...(guarded.has(hash) ? [] : [`a key has no guardrail: ${hash}`]),
    ...(lists.every(({ allowedKeys }) => allowedKeys?.includes(hash)) ? [] : [`a key is in no list: ${hash}`]),
  ]);
}

function loweredLimits({ openRouter }: Stage): readonly string[] {
  return madeKeys(openRouter).flatMap((hash) => {
    const limit = openRouter.keys.get(hash)?.limit;
    return limit === LIMIT ? [] : [`a key has the limit ${limit} after the reset`];
  });
}

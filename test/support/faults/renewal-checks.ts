import { documentsOf, inProcess } from "../programs/in-process.ts";
import { stored } from "../openrouter/made-keys.ts";
import type { Stage } from "../openrouter/made-keys.ts";
import { environmentFor } from "../recording/keyctl.ts";
import { isAccepted } from "./deaths.ts";
import type { Death } from "./deaths.ts";
import { inTurn } from "./recovery-checks.ts";

/** When a key was taken out of use at OpenRouter, by a person or by a `leaked`, and how; null: the `leaked` decided. */
export type Deaths = ReadonlyMap<string, { readonly death: Death | null; readonly at: number }>;

/** A `leaked` that was run. */
export interface Containment {
  /** The hashes of the keys that it was given. */
  readonly hashes: readonly string[];
  readonly code: number | undefined;
  readonly beganAt: number;
  readonly endedAt: number;
  /** Those that OpenRouter accepted when it had ended. */
  readonly alive: readonly string[];
}

/** The keys in use that are dead, although nobody has taken them out of use. */
export async function lostKeys(stage: Stage, deaths: Deaths): Promise<readonly string[]> {
  return (await deadRows(stage))
    .filter(({ hash }) => !deaths.has(hash))
    .map(({ user, hash }) => `${user} has lost a key that nobody has killed: ${hash}`);
}

async function deadRows(stage: Stage) {
  const { rows } = await stored(stage);
  return rows.filter(({ generation, hash }) => generation > 0 && !isAccepted(stage.openRouter, hash));
}

/** Renews each dead key that is in use, twice: the first time creates one key, and the second time none. */
export async function renewAtRest(stage: Stage): Promise<readonly string[]> {
  await stage.ageKeys();
  const problems: string[] = [];
  for (const { user, hash } of await deadRows(stage)) {
    for (const renewed of [true, false]) {
      const before = stage.openRouter.count("POST /keys");
      const args = ["renew", "--user", user, "--include-disabled", "--json"];
      const run = await inTurn(() => inProcess(stage.home, args, { env: environmentFor(stage.openRouter) }));
      const created = stage.openRouter.count("POST /keys") - before;
      const said = documentsOf(run).at(-1)?.["renewed"];
      if (run.code === 0 && said === renewed && created === (renewed ? 1 : 0)) continue;
      problems.push(
        `a renewal of ${user} (${hash}) ends with ${run.code} and ${created} keys: ${run.stdout}${run.stderr}`,
      );
    }
  }
  return problems;
}

/**
 * The renewals that have replaced a key that worked. A key is the one that a renewal has replaced if it is the user's last one
 * before the renewal, unless another command had revoked it by then.
 */
export async function wrongRenewals(stage: Stage, deaths: Deaths): Promise<readonly string[]> {
  const { rows, journal, events } = await stored(stage);
  const saved = journal.flatMap((entry) => (entry.kind === "out" && entry.outcome === "saved" ? [entry] : []));
  const revokedAt = new Map(
    journal.flatMap((entry) => (entry.kind === "rev" ? [[`${entry.userId} ${entry.n}`, entry.at] as const] : [])),
  );
  const renewed = new Set([
    ...events.flatMap(({ event, keyHash }) => (event === "renewed" ? [keyHash] : [])),
    ...rows.flatMap(({ autoRenewed, hash }) => (autoRenewed ? [hash] : [])),
  ]);
  return saved.flatMap(({ userId, n, hash, at }) => {
    if (!renewed.has(hash)) return [];
    const old = saved.filter((one) => one.userId === userId && one.n < n).toSorted((a, b) => b.n - a.n)[0];
    if (old === undefined) return [];
    const revoked = revokedAt.get(`${userId} ${old.n}`);
    if (revoked !== undefined && revoked <= at) return [];
    const death = deaths.get(old.hash);
    return death !== undefined && death.at <= Date.parse(at)
      ? []
      : [`a renewal has replaced key ${old.n} of ${userId} (${old.hash}), which worked, by key ${n}`];
  });
}

/** The rows of which the history tells another story than they do. */
export async function wrongMarks(stage: Stage): Promise<readonly string[]> {
  const { rows, events } = await stored(stage);
  return rows.flatMap(({ user, hash, generation, autoRenewed, lastRenewalAt }) => {
    const told = events.find(
      ({ userId, keyHash, event }) => userId === user && keyHash === hash && COMING_INTO_USE.has(event),
    );
    const isRight = told === undefined || generation === 0 || (told.event === "renewed") === autoRenewed;
    return [
      ...(isRight ? [] : [`the row of ${user} says auto_renewed ${autoRenewed}, and the history ${told.event}`]),
      ...(autoRenewed === (lastRenewalAt !== null) ? [] : [`the row of ${user} was renewed at ${lastRenewalAt}`]),
      ...(autoRenewed && generation === 0 ? [`the row of ${user} has a given key that was renewed`] : []),
    ];
  });
}

const COMING_INTO_USE: ReadonlySet<string> = new Set(["created", "rotated", "renewed"]);

/** The keys that work, or are in use, although a `leaked` has said that they are contained. */
export async function uncontained(
  { openRouter, ...stage }: Stage,
  containments: readonly Containment[],
): Promise<readonly string[]> {
  const { rows } = await stored(stage);
  const inUse = new Set(rows.flatMap(({ generation, hash }) => (generation > 0 ? [hash] : [])));
  return containments.flatMap(({ code, hashes, alive }) =>
    code !== 0
      ? []
      : hashes.flatMap((hash) => [
          ...(alive.includes(hash) || isAccepted(openRouter, hash) ? [`a contained key is alive: ${hash}`] : []),
          ...(inUse.has(hash) ? [`a contained key is in use: ${hash}`] : []),
        ]),
  );
}

/** Whether a `leaked` about a key of this user was under way at this time. */
export async function leaksOf(
  stage: Stage,
  containments: readonly Containment[],
): Promise<(user: string, at: string) => boolean> {
  const { journal } = await stored(stage);
  const owners = new Map(
    journal.flatMap((entry) =>
      entry.kind === "out" && entry.outcome === "saved" ? [[entry.hash, String(entry.userId)] as const] : [],
    ),
  );
  return (user, at) =>
    containments.some(
      ({ hashes, beganAt, endedAt }) =>
        beganAt <= Date.parse(at) && Date.parse(at) <= endedAt && hashes.some((hash) => owners.get(hash) === user),
    );
}

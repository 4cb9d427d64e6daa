import { expect, it } from "vitest";
import { campaign } from "../support/faults/campaign.ts";
import { ALL_VERBS, PLAIN_VERBS } from "../support/faults/campaign-verbs.ts";
import type { Verb } from "../support/faults/campaign-verbs.ts";
import { emptyHome } from "../support/home/home.ts";
import { keyEnding } from "../support/fixtures/keys.ts";
import { mongoStage, sqliteStage } from "../support/openrouter/made-keys.ts";
import type { Stage } from "../support/openrouter/made-keys.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import type { Route } from "../support/openrouter/routes.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { recordingProgram } from "../support/recording/process.ts";

const USERS = ["alice", "bob", "carol"];

/**
 * The properties that distinguish two accounts, and the routes without faults. Without an answer, commands continue.
 */
const ACCOUNTS: readonly (readonly [string, string | null, string | null, readonly Route[]])[] = [
  ["organisations", "org_1", "org_2", []],
  ["persons", null, null, ["GET /workspaces"]],
];

it.each(ACCOUNTS)("half of 300 processes with the management key of another account: %s", async (_name, ...account) => {
  const openRouter = await mockOpenRouter({ organization: account[0] });
  await among(sqliteStage(emptyHome(), openRouter), account, ALL_VERBS, 300);
});

describeWithMongodb("on a MongoDB server", () => {
  it.each(ACCOUNTS)("half of 100 such processes: %s", async (_name, ...account) => {
    const database = databaseOfTest();
    const openRouter = await mockOpenRouter({ organization: account[0] });
    await among(mongoStage(homeOn(database.uri), openRouter, database), account, PLAIN_VERBS, 100);
  });
});

/** No key of this account is lost and no key of the other one is changed, in spite of deaths and lost answers. */
async function among(
  stage: Stage,
  [, organization, faultless]: readonly [string | null, string | null, readonly Route[]],
  verbs: readonly Verb[],
  processes: number,
): Promise<void> {
  const { openRouter, home } = stage;
  const stranger = openRouter.addAccount(organization);
  for (const ending of ["91aa", "c0de"]) openRouter.addKey(keyEnding(ending), { workspace: stranger.defaultWorkspace });
  const theirs = () => [...openRouter.keys.values()].filter(({ workspace }) => workspace === stranger.defaultWorkspace);
  const before = structuredClone(theirs());
  const start = await recordingProgram();
  // On a busy machine, the first key may be there before the account of the store is recorded: the comparison records it.
  for (const args of [["sync", "--user", "alice"], ["reconcile"]]) {
    expect((await start(home, openRouter, { args }).ended).code).toBe(0);
  }

  const { problems, ...counts } = await campaign(stage, start, { processes, verbs, users: USERS, stranger, faultless });
  console.log(counts);
  expect(problems).toEqual([]);
  expect(counts.strangers).toBeGreaterThan(processes / 50);
  expect([theirs(), changesByStrangers(openRouter)]).toEqual([before, []]);
}

function changesByStrangers({ requests }: OpenRouterServer): readonly unknown[] {
  return requests.filter(({ credential, method }) => credential.endsWith("another account") && method !== "GET");
}

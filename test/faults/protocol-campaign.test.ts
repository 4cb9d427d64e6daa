import { expect, it } from "vitest";
import { ALL_VERBS, campaign, PLAIN_VERBS } from "../support/faults/campaign.ts";
import type { CampaignFigures } from "../support/faults/campaign.ts";
import { emptyHome } from "../support/home/home.ts";
import { mongoStage, sqliteStage } from "../support/openrouter/made-keys.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { recordingProgram } from "../support/recording/process.ts";

const PROCESSES = 600;
const ON_MONGODB = 150;
const USERS = ["alice", "bob", "carol"];

it(`${PROCESSES} processes, killed at random while a fifth of all requests go wrong, do what the model does and leave nothing over`, async () => {
  const stage = sqliteStage(emptyHome(), await mockOpenRouter());
  expectProof(
    await campaign(stage, await recordingProgram(), { processes: PROCESSES, verbs: ALL_VERBS, users: USERS }),
    PROCESSES,
  );
});

describeWithMongodb("on a MongoDB server", () => {
  it(`${ON_MONGODB} such processes, of the commands that need no atomic changes of a row`, async () => {
    const database = databaseOfTest();
    const stage = mongoStage(homeOn(database.uri), await mockOpenRouter(), database);
    expectProof(
      await campaign(stage, await recordingProgram(), { processes: ON_MONGODB, verbs: PLAIN_VERBS, users: USERS }),
      ON_MONGODB,
    );
  });
});

function expectProof({ problems, ...counts }: CampaignFigures, processes: number): void {
  console.log(counts);
  expect(problems).toEqual([]);
  expect(counts.processes).toBe(processes);
  expect(counts.kills).toBeGreaterThan(processes / 6);
  expect(counts.faults).toBeGreaterThan(counts.requests / 8);
  expect(counts.traces).toBeGreaterThan(processes / 2);
}

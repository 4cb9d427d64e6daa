import { expect, it } from "vitest";
import { campaign } from "../support/faults/campaign.ts";
import { ALL_VERBS, BLOCKING_VERBS, PLAIN_VERBS } from "../support/faults/campaign-verbs.ts";
import type { CampaignFigures } from "../support/faults/campaign.ts";
import { emptyHome } from "../support/home/home.ts";
import { mongoStage, sqliteStage } from "../support/openrouter/made-keys.ts";
import { hashOf } from "../support/fixtures/keys.ts";
import { randomKey } from "../support/openrouter/state.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { recordingProgram } from "../support/recording/process.ts";

const PROCESSES = 600;
const ON_MONGODB = 150;
/** A server without atomic changes of a row is safe for rotations while nobody else works on the user. */
const IN_TURN = 40;
const USERS = ["alice", "bob", "carol"];

it(`${PROCESSES} processes, killed at random while a fifth of all requests go wrong, do what the model does and leave nothing over`, async () => {
  const texts = new Map<string, string>();
  const newKey = () => {
    const text = randomKey();
    texts.set(hashOf(text), text);
    return text;
  };
  const stage = sqliteStage(emptyHome(), await mockOpenRouter({ newKey }));
  const verbs = [...ALL_VERBS, ...BLOCKING_VERBS];
  const figures = await campaign(stage, await recordingProgram(), { processes: PROCESSES, verbs, users: USERS, texts });
  expectProof(figures, PROCESSES);
  // Few keys live for long. What is dead at the end is renewed then.
  expect(figures.deaths).toBeGreaterThan(2);
  expect(figures.contained).toBeGreaterThan(2);
});

describeWithMongodb("on a MongoDB server", () => {
  it(`${ON_MONGODB} such processes, of the commands that need no atomic changes of a row`, async () => {
    const database = databaseOfTest();
    const stage = mongoStage(homeOn(database.uri), await mockOpenRouter(), database);
    expectProof(
      await campaign(stage, await recordingProgram(), {
        processes: ON_MONGODB,
        verbs: [...PLAIN_VERBS, ...BLOCKING_VERBS],
        users: USERS,
      }),
      ON_MONGODB,
    );
  });

  it(`${IN_TURN} processes one after the other, rotations among them`, async () => {
    const database = databaseOfTest();
    const home = homeOn(database.uri);
    const environment = { ...home.environment, KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" };
    const stage = mongoStage({ ...home, environment }, await mockOpenRouter(), database);
    const plan = { processes: IN_TURN, verbs: ALL_VERBS, users: USERS.slice(0, 1), atOnce: 1 };
    expectProof(await campaign(stage, await recordingProgram(), plan), IN_TURN);
  });
});

function expectProof({ problems, ...counts }: CampaignFigures, processes: number): void {
  console.log(counts);
  expect(problems).toEqual([]);
  expect(counts.processes).toBe(processes);
  // About a quarter of them; a small campaign has room for chance.
  expect(counts.kills).toBeGreaterThan(processes / 20);
  // A fifth of them, less four standard deviations.
  expect(counts.faults).toBeGreaterThan(0.2 * counts.requests - 1.6 * Math.sqrt(counts.requests));
  expect(counts.traces).toBeGreaterThan(processes / 2);
}

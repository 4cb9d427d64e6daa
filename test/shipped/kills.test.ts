import { expect, it } from "vitest";
import { KILL_SCENES, killEverywhere } from "../support/faults/kills.ts";

/** The rest of these kills is a campaign: `npm run test:faults`. */
const CHANGES = /store\.insert|store\.replace|store\.insertEntry|withManagementKey\.create/;

it("kill -9 beside any change that making a key is: reconcile and sync put it right, and no key is left over", async () => {
  const { kills, problems } = await killEverywhere(KILL_SCENES.sync, (moment) => CHANGES.test(moment));
  expect(problems).toEqual([]);
  // An operation, its POST, the row, its outcome, and that it is settled; the seal check beside that.
  expect(kills).toBeGreaterThanOrEqual(10);
});

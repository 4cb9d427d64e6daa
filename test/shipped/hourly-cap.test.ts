import { expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { runProgram } from "../support/programs/installed-library.ts";
import { madeKeys } from "../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { environmentFor } from "../support/recording/keyctl.ts";

const CALLS = 200;
const CAP = 60;

it(`the hourly cap holds for ${CALLS} calls of one program`, async () => {
  const home = emptyHome();
  const openRouter = await mockOpenRouter();
  const run = await runProgram(
    home,
    "program.mjs",
    `import { KeyManager } from "keyctl";
       const keys = await KeyManager.open();
       const users = Array.from({ length: ${CALLS} }, (_, index) => "user-" + index);
       const results = await Promise.all(users.map((user) => keys.syncAndGetKey(user)));
       console.log(JSON.stringify(results.map(({ error }) => error?.code ?? null)));
       await keys.close();`,
    { ...environmentFor(openRouter), KEYCTL_MAX_PROVISIONS_PER_HOUR: String(CAP) },
  );
  expect(run).toMatchObject({ code: 0, stderr: "" });
  const codes = JSON.parse(run.stdout) as readonly (string | null)[];
  expect([madeKeys(openRouter).length, codes.filter((code) => code === null).length]).toEqual([CAP, CAP]);
  expect(new Set(codes)).toEqual(new Set([null, "PROVISION_CAP"]));
});

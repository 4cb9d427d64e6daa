import { expect, it } from "vitest";
import { CANARIES, canariesIn } from "../support/fixtures/leak-canaries.ts";
import { hasOpenssl, selfSigned } from "../support/fixtures/certificate.ts";
import { emptyHome } from "../support/home/home.ts";
import { errorOf } from "../support/programs/in-process.ts";
import { runProgram } from "../support/programs/installed-library.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { uriOf } from "../support/mongodb/server.ts";
import { describeWithOwnServer, serverOfTest } from "../support/mongodb/of-test.ts";

describeWithOwnServer("a MongoDB server with a certificate", () => {
  it.skipIf(!hasOpenssl)("is not used by anybody who does not trust it, whatever the environment says", async () => {
    const files = selfSigned();
    const uri = uriOf((await serverOfTest(files)).uri, "keys");
    const untrusted = { KEYCTL_STORE: uri, NODE_TLS_REJECT_UNAUTHORIZED: "0" };
    const trusted = { KEYCTL_STORE: `${uri}&tlsCAFile=${encodeURIComponent(files.certificate)}` };
    const home = emptyHome();
    const list = async (env: Readonly<Record<string, string>>) => keyctl(home, ["list", "--json"], { env });

    const refused = await list(untrusted);
    expect(refused.code).toBe(7);
    expect(errorOf(refused)).toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("could not be reached over TLS") as string,
    });
    expect(refused.stderr).not.toContain("Warning");
    // It is asked, and says that no store exists yet.
    expect(errorOf(await list(trusted))).toMatchObject({ code: "STORE_MISSING" });

    const program = `
      import { syncUserApiKey } from "keyctl";
      const { key, error } = await syncUserApiKey("alice");
      console.log(key?.masked ?? error.code);
      process.exit(0);`;
    const environment = { OPENROUTER_API_KEY: CANARIES.key, KEYCTL_MASTER_KEYS: CANARIES["master key"] };
    const run = async (more: Readonly<Record<string, string>>) =>
      runProgram(home, "program.mjs", program, { ...environment, ...more });
    const withoutTrust = await run(untrusted);
    expect(withoutTrust).toMatchObject({ code: 0, stdout: "STORE_UNAVAILABLE" });
    expect(canariesIn({ ...withoutTrust, code: "" })).toEqual([]);
    const made = await run({ ...trusted, KEYCTL_CREATE_STORE: "1" });
    expect(made).toMatchObject({ code: 0, stdout: `***************${CANARIES.key.slice(-4)}` });
    expect(await list(trusted)).toMatchObject({ code: 0 });
    expect(await list({ KEYCTL_STORE: uri, NODE_EXTRA_CA_CERTS: files.certificate })).toMatchObject({ code: 0 });
  });
});

import { transform } from "esbuild";
import { describe, expect, it } from "vitest";
import { page } from "../docs/pages.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { always } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { runProgram } from "../support/programs/installed-library.ts";
import { keyctl } from "../support/programs/keyctl.ts";

/** The handler in docs/library.md: a server's author copies it. */

const BLOCKS = page("docs/library.md").blocks.filter(({ language }) => language === "ts");
const HANDLER = BLOCKS.find(({ text }) => text.includes("afterLogin"))?.text ?? "";
const KEY = `sk-or-v1-${"0".repeat(60)}b465`;

/** What a browser gets when this user logs in. */
async function login(home: Home, user: string, environment: NodeJS.ProcessEnv): Promise<unknown> {
  const { code } = await transform(HANDLER, { loader: "ts" });
  const run = await runProgram(
    home,
    "program.mjs",
    `import { createServer } from "node:http";
     ${code}
     const server = createServer((request, response) => void afterLogin(request.url.slice(1), response));
     await new Promise((done) => server.listen(0, "127.0.0.1", done));
     const answer = await fetch(\`http://127.0.0.1:\${server.address().port}/${user}\`);
     const { status } = answer;
     console.log(JSON.stringify({ status, text: await answer.text(), retry: answer.headers.get("retry-after") }));
     server.close();
     server.closeAllConnections();
     await keys.close();`,
    environment,
  );
  expect(run).toMatchObject({ code: 0 });
  return JSON.parse(run.stdout);
}

describe("the login page of docs/library.md", () => {
  it("is at most 25 lines", () => {
    expect(
      HANDLER.trim()
        .split("\n")
        .filter((line) => line !== "").length,
    ).toBeLessThanOrEqual(25);
  });

  it("gives a key, and says that there is none, that the user is blocked or that the name is wrong", async () => {
    const home = emptyHome();
    expect(await login(home, "bob", {})).toEqual({ status: 403, text: "You have no access yet.", retry: null });
    expect(await login(home, "", {})).toEqual({ status: 400, text: "This is not a user name.", retry: null });
    await keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: KEY } });
    expect(await login(home, "alice", {})).toMatchObject({ status: 200, text: "Your key: ***************b465" });
    await keyctl(home, ["purge", "--user", "alice", "--block", "--yes"]);
    expect(await login(home, "alice", {})).toMatchObject({ status: 403, text: "Your access was withdrawn." });
  });

  it("asks for a moment while a key is created, creates one key, and tells when the database is away", async () => {
    const home = emptyHome();
    const server = await mockOpenRouter();
    server.behave(always("POST /keys", { delayMs: 4_000 }));
    const environment = {
      KEYCTL_OPENROUTER_URL: server.url,
      OPENROUTER_PROVISIONING_KEY: server.managementKey,
    };
    expect(await login(home, "carol", environment)).toMatchObject({ status: 503, retry: "5" });
    expect(await login(home, "carol", environment)).toMatchObject({ status: 200 });
    expect(server.count("POST /keys")).toBe(1);
    const away = { KEYCTL_STORE: "mongodb://127.0.0.1:1/none" };
    expect(await login(home, "carol", away)).toMatchObject({ status: 503, text: "Try again in a minute." });
  });
});

import { readFileSync } from "node:fs";
import { transform } from "esbuild";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { madeKeys } from "../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { compile, installLibrary, runProgram } from "../support/programs/installed-library.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import { change } from "../support/sqlite/database-file.ts";

function exampleIn(name: string): string {
  return readFileSync(new URL(`../../docs/examples/${name}`, import.meta.url), "utf8");
}

/** A home whose project has the openai package as well. */
function homeWithOpenAI(): Home {
  const home = emptyHome();
  installLibrary(home, ["openai"]);
  return home;
}

describe.each(["analysis.ts", "analysis-with-openai.ts"])("the example %s", (name) => {
  it("goes on with a new key when its key dies in the middle, and says so once", async () => {
    const home = homeWithOpenAI();
    const server = await mockOpenRouter({
      onRequest({ route, status }) {
        if (route !== "POST /chat/completions" || status !== 200 || server.count(route) > 1) return;
        for (const hash of madeKeys(server)) server.removeKey(hash);
      },
    });
    const env = environmentFor(server);
    expect((await keyctl(home, ["provision", "-u", "alice"], { env })).code).toBe(0);
    change(home.database, "UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'");
    const { code } = await transform(exampleIn(name), { loader: "ts" });
    const source = code.replace("process.argv.slice(2)", '["alice", "one", "two", "three"]');
    const run = await runProgram(home, "program.mjs", source, env);
    const fields = {
      status: 200,
      answer: "Hello from a mock server.",
      auto_renewal_failed: false,
      auto_renewal_error: null,
    };
    expect([
      run.code,
      run.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ]).toEqual([
      0,
      [
        { text: "one", ...fields, auto_renewed: false },
        { text: "two", ...fields, auto_renewed: true },
        { text: "three", ...fields, auto_renewed: false },
      ],
    ]);
    expect(run.stderr.match(/^✅ API key was automatically renewed during this request$/gm)).toHaveLength(1);
    expect([server.count("POST /keys"), server.count("POST /chat/completions")]).toEqual([2, 4]);
  });

  it("compiles as strictly as it can", async () => {
    expect(await compile(homeWithOpenAI(), { "example.mts": exampleIn(name) })).toBe("");
  });
});

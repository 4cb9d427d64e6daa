import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mongodb } from "../support/mongodb/of-test.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { page } from "./pages.ts";
import type { Block } from "./pages.ts";
import { runBlock } from "./run-block.ts";
import { sceneOf } from "./scenes.ts";
import type { Scene } from "./scenes.ts";

const SYSTEMS = page("docs/ci.md").blocks.filter(({ language }) => language === "yaml");

/** The commands of `- run: …`, and of the list below `script:`. */
function stepsOf({ text }: Block): readonly string[] {
  const [, script = ""] = /^ *script:\n((?: +- .*\n)+)/m.exec(text) ?? [];
  const steps = [...text.matchAll(/^ +- run: (.+)$/gm), ...script.matchAll(/^ +- (.+)$/gm)];
  return steps.flatMap(([, command]) => command ?? []);
}

/** The variables that a job of the page sets, with the secrets that it names. */
function variablesOf({ text }: Block, secrets: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const set = text.matchAll(/^ +([A-Z_]+): (?:\$\{\{ secrets\.(\w+) \}\}|\$(\w+))$/gm);
  return Object.fromEntries(
    Array.from(set, ([, name = "", github, gitlab = ""]) => {
      const secret = secrets[github ?? gitlab];
      if (secret === undefined) throw new Error(`the page needs no secret ${github ?? gitlab}`);
      return [name, secret];
    }),
  );
}

function secretsOf({ secrets }: Scene): Readonly<Record<string, string>> {
  const read = (name: string) => readFileSync(join(secrets, name), "utf8").trim();
  return {
    KEYCTL_STORE: read("keyctl-store"),
    KEYCTL_MASTER_KEYS: read("keyctl-master-keys"),
    OPENROUTER_MANAGEMENT_KEY: read("openrouter-management-key"),
  };
}

/** What the CI systems set themselves; GitLab also sets the variables of the project. */
const GIVEN: Readonly<Record<string, (secrets: Readonly<Record<string, string>>) => Readonly<Record<string, string>>>> =
  {
    jobs: () => ({ CI: "true", GITHUB_ACTIONS: "true" }),
    keys: (secrets) => ({ ...secrets, CI: "true", GITLAB_CI: "true", CI_NODE_INDEX: "1", CI_NODE_TOTAL: "2" }),
  };

describe.skipIf(mongodb === null)("the jobs of docs/ci.md", () => {
  it("are one of GitHub's and one of GitLab's, with steps of keyctl's alone", () => {
    expect(SYSTEMS).toHaveLength(2);
    const steps = SYSTEMS.flatMap(stepsOf);
    expect(steps.length).toBeGreaterThanOrEqual(3);
    expect(steps.filter((step) => !step.startsWith("keyctl "))).toEqual([]);
  });

  it.each(SYSTEMS.map((block) => [`${block.page}:${block.line}`, block] as const))("succeed (%s)", async (_, block) => {
    const scene = await sceneOf("keys in MongoDB");
    const secrets = secretsOf(scene);
    // As in CI: secrets arrive in variables.
    const { OPENROUTER_PROVISIONING_KEY_FILE: _key, KEYCTL_MASTER_KEYS_FILE: _keys, ...rest } = scene.env;
    const [system = ""] = /^(?:jobs|keys)(?=:)/m.exec(block.text) ?? [];
    const env = { ...rest, ...GIVEN[system]?.(secrets), ...variablesOf(block, secrets) };
    for (const step of stepsOf(block)) {
      const { code, output } = await runBlock({ ...block, language: "sh", text: step }, { ...scene, env });
      expect({ step, code, output }).toEqual({ step, code: 0, output });
    }
    const summary = documentsOf({ stdout: readFileSync(join(scene.home.work, "verdicts.jsonl"), "utf8") }).at(-1);
    expect(summary).toMatchObject({ type: "summary", complete: true, error: null });
  });
});

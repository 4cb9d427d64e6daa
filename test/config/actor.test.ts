import * as fc from "fast-check";
import { hostname, userInfo } from "node:os";
import { describe, expect, it } from "vitest";
import { actorHere } from "../../src/config/actor.ts";
import { KEY } from "../support/fixtures/keys.ts";

const ciOf = (environment: Readonly<Record<string, string>>) => actorHere(environment).ci;

describe("the actor", () => {
  it("is the account and the host of this process", () => {
    expect(actorHere({})).toEqual({ osUser: userInfo().username, host: hostname(), ci: null, command: "library" });
  });

  it("is what a program says, and this process for the rest", () => {
    const given = { osUser: "ann@example.com", command: "login" };
    expect(actorHere({}, given)).toEqual({ ...given, host: hostname(), ci: null });
    expect(actorHere({ CI: "true" }, { osUser: null, ci: null })).toMatchObject({ osUser: null, ci: null });
  });

  it("holds no key, no control character and no long text, whatever it is made of", () => {
    const given = { osUser: `ann ${KEY}`, host: "\u001B[31mops1\u202E", ci: "x".repeat(1_000), command: " " };
    const actor = actorHere({}, given);
    expect(actor).toMatchObject({ host: "\\u001b[31mops1\\u202e", command: "library" });
    expect(actor.osUser).toMatch(/^ann \*+b465$/);
    expect(actor.ci).toHaveLength(200);
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), (text) => {
        const { osUser, ci } = actorHere({ GITHUB_ACTIONS: "true", GITHUB_JOB: text }, { osUser: text });
        for (const value of [osUser, ci]) expect(value ?? "").not.toMatch(/\p{Cc}|\p{Cf}|\p{Cs}/u);
        expect(Array.from(ci ?? "").length).toBeLessThanOrEqual(200);
      }),
    );
  });
});

describe("the CI job", () => {
  it.each<[string, Readonly<Record<string, string>>]>([
    [
      "GitHub Actions, acme/app, job nightly, run 42",
      { GITHUB_ACTIONS: "true", GITHUB_REPOSITORY: "acme/app", GITHUB_JOB: "nightly", GITHUB_RUN_ID: "42" },
    ],
    [
      "GitLab, acme/app, job keys, run 7",
      { GITLAB_CI: "true", CI_PROJECT_PATH: "acme/app", CI_JOB_NAME: "keys", CI_JOB_ID: "7", CI: "true" },
    ],
    [
      "CircleCI, acme/app, job keys, run 7",
      {
        CIRCLECI: "true",
        CIRCLE_PROJECT_USERNAME: "acme",
        CIRCLE_PROJECT_REPONAME: "app",
        CIRCLE_JOB: "keys",
        CIRCLE_BUILD_NUM: "7",
      },
    ],
    ["Jenkins, job keys, run 7", { JENKINS_URL: "https://ci.example.com", JOB_NAME: "keys", BUILD_NUMBER: "7" }],
    [
      "Buildkite, acme/app, job keys, run 7",
      {
        BUILDKITE: "true",
        BUILDKITE_ORGANIZATION_SLUG: "acme",
        BUILDKITE_PIPELINE_SLUG: "app",
        BUILDKITE_STEP_KEY: "keys",
        BUILDKITE_BUILD_NUMBER: "7",
      },
    ],
    [
      "Azure Pipelines, acme/app, job keys, run 7",
      {
        TF_BUILD: "True",
        SYSTEM_TEAMPROJECT: "acme",
        BUILD_DEFINITIONNAME: "app",
        SYSTEM_JOBNAME: "keys",
        BUILD_BUILDID: "7",
      },
    ],
  ])("is named as %s", (expected, environment) => {
    expect(ciOf(environment)).toBe(expected);
  });

  it("is named as far as the CI system says", () => {
    expect(ciOf({ GITHUB_ACTIONS: "true", CI: "true" })).toBe("GitHub Actions");
    expect(ciOf({ GITLAB_CI: "true", CI_JOB_NAME: " keys " })).toBe("GitLab, job keys");
  });

  it.each([
    ["true", "CI"],
    ["1", "CI"],
    ["woodpecker", "CI"],
    ["", null],
    ["false", null],
    ["0", null],
    ["No", null],
  ])("with CI=%j alone is %s", (value, expected) => {
    expect(ciOf({ CI: value })).toBe(expected);
  });
});

import { hostname, userInfo } from "node:os";
import { isCi, isSetForCi } from "../core/model/ci.ts";
import type { Actor } from "../core/model/history-event.ts";
import type { PartlyGiven } from "../core/model/partly-given.ts";
import { withoutKeys } from "../core/model/redact-keys.ts";
import { printable } from "../core/text/printable.ts";
import type { Environment } from "./variables.ts";

const MAX_CHARACTERS = 200;

/** A CI system: the variable that only it sets, and the variables that name the repository, the job and the run. */
interface CiSystem {
  readonly name: string;
  readonly mark: string;
  readonly place: readonly string[];
  readonly job: string;
  readonly run: string;
}

const CI_SYSTEMS: readonly CiSystem[] = [
  {
    name: "GitHub Actions",
    mark: "GITHUB_ACTIONS",
    place: ["GITHUB_REPOSITORY"],
    job: "GITHUB_JOB",
    run: "GITHUB_RUN_ID",
  },
  { name: "GitLab", mark: "GITLAB_CI", place: ["CI_PROJECT_PATH"], job: "CI_JOB_NAME", run: "CI_JOB_ID" },
  {
    name: "CircleCI",
    mark: "CIRCLECI",
    place: ["CIRCLE_PROJECT_USERNAME", "CIRCLE_PROJECT_REPONAME"],
    job: "CIRCLE_JOB",
    run: "CIRCLE_BUILD_NUM",
  },
  { name: "Jenkins", mark: "JENKINS_URL", place: [], job: "JOB_NAME", run: "BUILD_NUMBER" },
  {
    name: "Buildkite",
    mark: "BUILDKITE",
    place: ["BUILDKITE_ORGANIZATION_SLUG", "BUILDKITE_PIPELINE_SLUG"],
    job: "BUILDKITE_STEP_KEY",
    run: "BUILDKITE_BUILD_NUMBER",
  },
  {
    name: "Azure Pipelines",
    mark: "TF_BUILD",
    place: ["SYSTEM_TEAMPROJECT", "BUILD_DEFINITIONNAME"],
    job: "SYSTEM_JOBNAME",
    run: "BUILD_BUILDID",
  },
];

/** Who runs this process, for the history. A given value counts for more than that of the machine. */
export function actorHere(environment: Environment, given: PartlyGiven<Actor> = {}): Actor {
  return {
    osUser: short(given.osUser === undefined ? osUser() : given.osUser),
    host: short(given.host === undefined ? hostname() : given.host),
    ci: short(given.ci === undefined ? ciJob(environment) : given.ci),
    command: short(given.command) ?? "library",
  };
}

/** As far as the CI system says: its name, the repository, the job and the run. `CI` for an unknown one; null outside of CI. */
function ciJob(environment: Environment): string | null {
  const system = CI_SYSTEMS.find(({ mark }) => isSetForCi(environment, mark));
  if (system === undefined) return isCi(environment) ? "CI" : null;
  const read = (name: string) => environment[name]?.trim() || undefined;
  const place = system.place.flatMap((name) => read(name) ?? []).join("/");
  const [job, run] = [read(system.job), read(system.run)];
  const parts = [place, job && `job ${job}`, run && `run ${run}`].filter(Boolean);
  return [system.name, ...parts].join(", ");
}

/** Null for an account without a name, which a container may run under. */
function osUser(): string | null {
  try {
    return userInfo().username;
  } catch {
    return null;
  }
}

/** One line without keys and without control characters; null for an empty text. */
function short(text: string | null | undefined): string | null {
  const line = printable(withoutKeys(text?.trim().toWellFormed() ?? ""));
  const characters = Array.from(line);
  const cut = characters.length > MAX_CHARACTERS ? `${characters.slice(0, MAX_CHARACTERS - 1).join("")}…` : line;
  return cut === "" ? null : cut;
}

// Asks the registry for advisories on everything that keyctl ships: the packages that are bundled into dist/, and those
// that npm installs next to it. Fails for a finding without an entry, reason and date in .ci/audit-accepted.json, and
// for an entry that is incomplete or no longer found.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [acceptedFile = join(root, ".ci", "audit-accepted.json")] = process.argv.slice(2);
/** The HTTP status codes of a registry without this endpoint. */
const NO_ENDPOINT = [404, 405, 501];

const { vulnerabilities, statusCode, message } = report();
if (vulnerabilities === undefined && NO_ENDPOINT.includes(statusCode)) {
  console.log(`audit: this registry has no advisories (${statusCode}), so nothing is checked`);
} else if (vulnerabilities === undefined) {
  fail([`the registry gave no advisories: ${message}`]);
} else {
  judge(vulnerabilities);
}

function report() {
  const { stdout, error } = spawnSync("npm", ["audit", "--json"], { cwd: root, encoding: "utf8", stdio: "pipe" });
  if (error !== undefined) throw error;
  return JSON.parse(stdout);
}

function judge(byName) {
  const { packages } = readJson(join(root, "package-lock.json"));
  const bundled = readJson(join(root, "dist", "sbom.cdx.json")).components;
  const isBundled = (name, version) => bundled.some((one) => one.name === name && one.version === version);
  const isShipped = (name) => (node) => packages[node].dev !== true || isBundled(name, packages[node].version);
  const findings = Object.values(byName)
    .filter(({ name, nodes }) => nodes.some(isShipped(name)))
    // A text is the name of another package, which has its own entry.
    .flatMap(({ via }) => via.filter((one) => typeof one === "object"))
    .map(({ name, url, title, severity }) => ({ name, url, title, severity }));

  const accepted = readJson(acceptedFile);
  const open = findings.filter((finding) => !accepted.some((entry) => isOf(entry)(finding)));
  fail([
    ...accepted
      .filter((entry) => !isComplete(entry))
      .map((entry) => `an entry lacks something: ${JSON.stringify(entry)}`),
    ...accepted.filter((entry) => !findings.some(isOf(entry))).map(({ advisory }) => `no longer found: ${advisory}`),
    ...open.map(({ name, severity, title, url }) => `${name}: ${severity}, ${title}: ${url}`),
  ]);
  if (process.exitCode === undefined) {
    const rest = findings.length === 0 ? "" : ` but ${findings.length} in the list of those that are accepted`;
    console.log(`audit: no advisory is about what is shipped${rest}`);
  }
}

function isOf(entry) {
  return ({ name, url }) => entry.package === name && entry.advisory === url;
}

function isComplete({ package: name, advisory, reason, date }) {
  return (
    [name, advisory, reason].every((text) => typeof text === "string" && text !== "") && /^\d{4}-\d\d-\d\d$/.test(date)
  );
}

function fail(problems) {
  for (const problem of problems) console.error(`audit: ${problem}`);
  if (problems.length > 0) process.exitCode = 1;
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

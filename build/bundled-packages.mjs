// The third-party packages in dist/: names, versions and licences, as a text for people and as a CycloneDX list.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The folder of an installed package, and its name. */
const PACKAGE = /^(.*\bnode_modules\/((?:@[^/]+\/)?[^/]+))\//;
const LICENCE_FILE = /^(licen[cs]e|copying|notice)\b/i;

/**
 * The packages with code in the outputs of these esbuild metafiles, by name. Throws for a package without the text of
 * its licence.
 */
export function bundledPackages(metafiles, root) {
  const folders = new Map();
  for (const { inputs } of metafiles.flatMap(({ outputs }) => Object.values(outputs))) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const [, folder, name] = PACKAGE.exec(path) ?? [];
      if (folder !== undefined && bytesInOutput > 0) folders.set(folder, name);
    }
  }
  const packages = [...folders].map(([folder, name]) => readPackage(join(root, folder), name));
  return packages.toSorted((one, other) => (idOf(one) < idOf(other) ? -1 : 1));
}

function readPackage(folder, name) {
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const texts = readdirSync(folder)
    .filter((file) => LICENCE_FILE.test(file))
    .toSorted()
    .map((file) => readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").trim());
  if (typeof license !== "string" || texts.length === 0) throw new Error(`${name}@${version} comes without a licence`);
  return { name, version, license, texts };
}

function idOf({ name, version }) {
  return `${name}@${version}`;
}

/** The notices that the licences require. */
export function thirdPartyNotices(packages) {
  const chapters = packages.map(({ name, version, license, texts }) =>
    [`## ${name} ${version}`, `Licence: ${license}`, ...texts.map((text) => `~~~text\n${text}\n~~~`)].join("\n\n"),
  );
  return `${["# Third-party notices", "The files in `dist/` contain code of these packages.", ...chapters].join("\n\n")}\n`;
}

/**
 * The same packages as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). Leaves out the optional time and serial
 * number, so that two builds of the same sources are identical.
 */
export function softwareBillOfMaterials(packages, { name, version, license }) {
  const own = { type: "application", ...component({ name, version, license }) };
  const components = packages.map((one) => ({ type: "library", ...component(one), scope: "required" }));
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: { component: own },
    components,
    dependencies: [
      { ref: own["bom-ref"], dependsOn: components.map((one) => one["bom-ref"]) },
      ...components.map((one) => ({ ref: one["bom-ref"] })),
    ],
  };
}

function component({ name, version, license }) {
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  const licence = /^[\w.+-]+$/.test(license) ? { license: { id: license } } : { expression: license };
  return { "bom-ref": purl, name, version, licenses: [licence], purl };
}

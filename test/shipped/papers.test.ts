import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import { shipped } from "../support/programs/installed-library.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
}

interface Bill {
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
}

function paper(name: string): string {
  return readFileSync(join(shipped().project, "node_modules", "keyctl", "dist", name), "utf8");
}

function bill(): Bill {
  return JSON.parse(paper("sbom.cdx.json")) as Bill;
}

function manifestOf(name: string): { readonly version: string } {
  return JSON.parse(readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8")) as { version: string };
}

/** What a bundler that knows nothing of our build puts into the tool. */
async function bundledByOthers(): Promise<readonly string[]> {
  const { metafile } = await build({
    entryPoints: [join(ROOT, "src", "main.ts")],
    absWorkingDir: ROOT,
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    platform: "node",
    outdir: "none",
    write: false,
    metafile: true,
    logLevel: "error",
    external: [
      "@aws-sdk/*",
      "@mongodb-js/zstd",
      "gcp-metadata",
      "kerberos",
      "mongodb-client-encryption",
      "snappy",
      "socks",
    ],
  });
  const used = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.entries(inputs));
  const paths = used.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => path);
  const names = paths.map((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
  return [...new Set(names.filter((name) => name !== undefined))].toSorted();
}

/** Of the driver: Node's own URL takes their place. */
const NOT_CARRIED = ["punycode", "tr46", "webidl-conversions", "whatwg-url"];

describe("the bill of materials", () => {
  it("is CycloneDX 1.6", async () => {
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
    expect(await validator.validate(paper("sbom.cdx.json"))).toBeNull();
  });

  it("lists every package of which code is in the tool, in the version that is there", async () => {
    const { components } = bill();
    const others = (await bundledByOthers()).filter((name) => !NOT_CARRIED.includes(name));
    expect(components.map(({ name }) => name).toSorted()).toEqual(others);
    expect(others).toEqual(expect.arrayContaining(["@inquirer/core", "bson", "commander", "mongodb", "undici"]));
    for (const { name, version } of components) expect([name, version]).toEqual([name, manifestOf(name).version]);
  });

  it("is about this package", () => {
    const text = readFileSync(join(ROOT, "package.json"), "utf8");
    const { name, version } = JSON.parse(text) as Component;
    expect(bill().metadata.component).toMatchObject({ name, version, purl: `pkg:npm/${name}@${version}` });
  });
});

describe("the third-party notices", () => {
  it("name each of these packages with its version and the text of its licence", () => {
    const chapters = paper("THIRD-PARTY-NOTICES.md").split(/^## /m).slice(1);
    const { components } = bill();
    expect(chapters.map((chapter) => chapter.split("\n")[0])).toEqual(
      components.map(({ name, version }) => `${name} ${version}`),
    );
    for (const chapter of chapters) {
      expect(chapter).toMatch(/^Licence: \S/m);
      expect(chapter).toMatch(/permission|licen[cs]e/i);
      expect(chapter.length).toBeGreaterThan(500);
    }
  });

  it("hold what the driver's licence wants to be kept", () => {
    const text = paper("THIRD-PARTY-NOTICES.md");
    expect(text).toContain("Apache License");
    expect(text).toContain("Copyright (c) Matteo Collina and Undici contributors");
  });
});

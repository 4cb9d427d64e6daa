import { existsSync } from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { PAGES, proseOf, textOf, USER_PAGES } from "./pages.ts";
import type { Page } from "./pages.ts";

interface Link {
  readonly from: string;
  readonly target: string;
}

/** The links of a page into this repository. */
function linksOf(page: Page): readonly Link[] {
  const targets = Array.from(proseOf(page).matchAll(/\]\(([^)\s]+)\)/g), ([, target = ""]) => target);
  return targets.filter((target) => !/^https?:/.test(target)).map((target) => ({ from: page.path, target }));
}

/** The headings of a page as GitHub makes anchors of them. */
function anchorsOf(text: string): ReadonlySet<string> {
  const headings = Array.from(
    text.replaceAll(/^ *```.*?^ *```$/gms, "").matchAll(/^#+ (.+)$/gm),
    ([, found = ""]) => found,
  );
  return new Set(headings.map(anchorOf));
}

function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}

function placeOf({ from, target }: Link): { readonly path: string; readonly anchor: string | undefined } {
  const [file = "", anchor] = target.split("#");
  return { path: file === "" ? from : posix.join(posix.dirname(from), file), anchor };
}

function isBroken(link: Link): boolean {
  const { path, anchor } = placeOf(link);
  if (!existsSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)))) return true;
  return anchor !== undefined && !anchorsOf(textOf(path)).has(anchor);
}

describe("the links of the pages", () => {
  const links = PAGES.flatMap(linksOf);
  const reached = (from: string) =>
    new Set(links.filter((link) => link.from === from).map((link) => placeOf(link).path));

  it("lead to files and headings that there are", () => {
    expect(links.length).toBeGreaterThan(80);
    expect(links.filter(isBroken)).toEqual([]);
  });

  it("of users' pages lead to what is in the package", () => {
    const { files } = JSON.parse(textOf("package.json")) as { files: readonly string[] };
    // npm packs these by itself.
    const packed = ["README.md", "LICENSE", ...files];
    const outside = USER_PAGES.flatMap(linksOf).filter((link) => {
      const { path } = placeOf(link);
      return !packed.some((entry) => path === entry || path.startsWith(`${entry}/`));
    });
    expect(outside).toEqual([]);
  });

  it("lead from docs/README.md to every page, and from the README to docs/README.md", () => {
    const pages = USER_PAGES.map(({ path }) => path).filter((path) => !path.endsWith("README.md"));
    expect(pages.filter((path) => !reached("docs/README.md").has(path))).toEqual([]);
    expect(reached("README.md").has("docs/README.md")).toBe(true);
  });

  it("to other sites are https", () => {
    const sites = PAGES.flatMap(({ text }) => text.match(/\bhttps?:\/\/[^\s)`>"',]+/g) ?? []);
    const plain = sites.filter(
      (site) => site.startsWith("http:") && !/^http:\/\/(?:127\.0\.0\.1|localhost|`|$)/.test(site),
    );
    expect(plain).toEqual([]);
  });
});

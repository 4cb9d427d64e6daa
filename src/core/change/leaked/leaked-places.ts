import type { Context } from "../../context.ts";
import { isKeyctlError } from "../../model/errors.ts";
import type { LeakedKey } from "../../model/leaked-results.ts";
import type { Warning } from "../../model/warning.ts";
import type { KeySource } from "../../ports/stores-and-sources.ts";
import { printable } from "../../text/printable.ts";

/** The places of this machine that hold the leaked key: programs here go on with it, and `sync` would find it. */
export async function placesWith(
  { hash }: LeakedKey,
  { sources }: Pick<Context, "sources">,
): Promise<readonly Warning[]> {
  const found = await Promise.all(sources.map(async (source) => ((await keyHashIn(source)) === hash ? [source] : [])));
  return found.flat().map(({ place }) => {
    const message = `${printable(place)} holds the leaked key: remove it there`;
    return { code: "LEAKED_KEY_HERE", message };
  });
}

/** A place that cannot be read holds no key that is found. */
async function keyHashIn(source: KeySource): Promise<string | null> {
  try {
    const { reading } = await source.read();
    return reading.status === "found" ? reading.key.hash : null;
  } catch (thrown) {
    if (isKeyctlError(thrown)) return null;
    throw thrown;
  }
}

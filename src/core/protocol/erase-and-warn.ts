import { isKeyctlError } from "../model/errors.ts";
import type { Warning } from "../model/warning.ts";
import type { ErasureTask, KeyStore, Remains } from "../ports/stores-and-sources.ts";
import { printable } from "../text/printable.ts";
import { shellQuote } from "../text/shell-quote.ts";

/** Takes what was removed or replaced off the disk, and warns of what is still there. The change itself is done: nothing of this fails it. */
export async function eraseAndWarn(
  { eraseRemoved: erase }: Pick<KeyStore, "eraseRemoved">,
  task: ErasureTask,
  signal: AbortSignal,
): Promise<readonly Warning[]> {
  if (erase === undefined || signal.aborted) return [];
  try {
    const remains = await erase(task, signal);
    if (remains === null) return [];
    const message = `what was removed or replaced is still on disk, in ${printable(remains.place)}, ${wayOut(remains)}`;
    return [{ code: "STILL_ON_DISK", message }];
  } catch (thrown) {
    if (isKeyctlError(thrown)) return [];
    throw thrown;
  }
}

function wayOut(remains: Remains): string {
  switch (remains.how) {
    case "held":
      return "until the other program that holds the database lets go of it; then: keyctl rekey --keep-key";
    case "too large":
      return `until sqlite3 ${shellQuote(remains.place)} VACUUM   has rewritten it: it is too large to do that here`;
    case "failed":
      return `because ${remains.error.message}; correct that, then: keyctl rekey --keep-key`;
  }
}

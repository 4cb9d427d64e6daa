import type { KeyctlError } from "../../../core/model/errors.ts";
import { errorDocument } from "../../invocation.ts";
import type { Invocation } from "../../invocation.ts";

/** The result of `list --count`. */
export async function printCount(
  { terminal, receivedSignal }: Invocation,
  count: number,
  error: KeyctlError | null,
): Promise<void> {
  if (terminal.options.json) await terminal.document({ count, error: errorDocument(error, receivedSignal()) });
  else await terminal.result(String(count));
}

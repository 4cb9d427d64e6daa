import { closeSync, fsyncSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { inHome } from "../../files/home-folder.ts";
import { openPrivateFile } from "../../files/private-files.ts";
import { readBeginning } from "../../files/read-regular-file.ts";
import { draftName, sweepDrafts } from "./output-drafts.ts";
import { STANDARD_OUTPUT } from "../invocation.ts";
import type { Invocation } from "../invocation.ts";
import type { AtEnd } from "../terminal/process-end.ts";
import { codeOf } from "../../files/system-error.ts";

/** The beginning of every line of a bulk run. */
const JSONL_PREFIX = '{"type":';

/**
 * The file of `--output`: mode 0600, written next to its place and moved there only when it is complete. It may hold bare
 * keys, so its draft outlives neither the process nor, after SIGKILL, the next run.
 */
export interface DocumentFile {
  /** One line. */
  write(text: string): void;
  finish(): void;
  abandon(): void;
}

/** The file of this `--output`; undefined without one, and for standard output. Throws as `createDocumentFile`. */
export function documentFile(
  output: string | undefined,
  environment: Invocation["environment"],
  atEnd: AtEnd,
): DocumentFile | undefined {
  if (output === undefined || output === STANDARD_OUTPUT) return undefined;
  return createDocumentFile(inHome(output, environment), atEnd);
}

/** Throws USAGE for a path that holds anything but the output of an earlier run. */
function createDocumentFile(path: string, atEnd: AtEnd): DocumentFile {
  refuseToReplace(path);
  const folder = dirname(path);
  sweepDrafts(folder);
  const draft = join(folder, draftName());
  const file = attempt(path, () => openPrivateFile(draft));
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(file);
    isOpen = false;
  };
  const remove = () => rmSync(draft, { force: true });
  const keep = atEnd(remove);
  return {
    write: (text) => attempt(path, () => writeFileSync(file, `${text}\n`)),
    finish: () =>
      attempt(path, () => {
        fsyncSync(file);
        close();
        renameSync(draft, path);
        keep();
      }),
    abandon() {
      close();
      remove();
    },
  };
}

/** A typing mistake must not overwrite a database, master keys, a list of users or /dev/null. */
function refuseToReplace(path: string): void {
  if (/[/\\]$/.test(path)) throw refused(path, "names no file");
  const there = readBeginning(path, JSONL_PREFIX.length);
  if (there.status === "absent") return;
  if (there.status === "unreadable") throw refused(path, `cannot be replaced: ${there.reason}`);
  if (there.bytes.length > 0 && there.bytes.toString("latin1") !== JSONL_PREFIX)
    throw refused(path, "already holds something else");
}

function refused(path: string, problem: string): KeyctlError {
  return new KeyctlError("USAGE", `--output: ${printable(path)} ${problem}`, {
    hint: "name a new file; --output -   writes to standard output",
  });
}

function attempt<Result>(path: string, act: () => Result): Result {
  try {
    return act();
  } catch (thrown) {
    throw new KeyctlError("OUTPUT_FAILED", `${printable(path)} could not be written (${codeOf(thrown)})`, {
      hint: "check the folder and the free space of --output",
    });
  }
}

import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { KeyctlError } from "../core/errors.ts";
import { printable } from "../core/printable.ts";
import { openPrivateFile } from "../files/private-files.ts";
import { codeOf } from "../files/read-regular-file.ts";

/** The file of `--output`: 0600, written beside its place, and in its place only when it is whole. */
export interface DocumentFile {
  /** One line. */
  write(text: string): void;
  finish(): void;
  abandon(): void;
}

/** Throws USAGE for what is no regular file: renamed over /dev/null, it would be gone for everybody. */
export function createDocumentFile(path: string): DocumentFile {
  refuseOtherThanFile(path);
  const draft = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  const file = attempt(path, () => openPrivateFile(draft));
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(file);
    isOpen = false;
  };
  return {
    write: (text) => attempt(path, () => writeFileSync(file, `${text}\n`)),
    finish: () =>
      attempt(path, () => {
        fsyncSync(file);
        close();
        renameSync(draft, path);
      }),
    abandon() {
      close();
      rmSync(draft, { force: true });
    },
  };
}

function refuseOtherThanFile(path: string): void {
  const there = attempt(path, () => statSync(path, { throwIfNoEntry: false }));
  if (there === undefined || there.isFile()) return;
  throw new KeyctlError("USAGE", `${printable(path)} is not a regular file`, {
    hint: "name a file with --output, or use --json > to write to a device or pipe",
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

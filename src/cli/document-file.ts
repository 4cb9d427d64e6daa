import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { KeyctlError } from "../core/errors.ts";
import { printable, printableJson } from "../core/printable.ts";
import { openPrivateFile } from "../files/private-files.ts";
import { codeOf } from "../files/read-regular-file.ts";

/** The file of `--output`: 0600, written beside its place, and in its place only when it is whole. */
export interface DocumentFile {
  write(document: object): void;
  finish(): void;
  abandon(): void;
}

export function createDocumentFile(path: string): DocumentFile {
  const draft = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  const file = attempt(path, () => openPrivateFile(draft));
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(file);
    isOpen = false;
  };
  return {
    write: (document) => attempt(path, () => writeFileSync(file, `${printableJson(document)}\n`)),
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

function attempt<Result>(path: string, act: () => Result): Result {
  try {
    return act();
  } catch (thrown) {
    throw new KeyctlError("OUTPUT_FAILED", `${printable(path)} could not be written (${codeOf(thrown)})`, {
      hint: "check the folder and the free space of --output",
    });
  }
}

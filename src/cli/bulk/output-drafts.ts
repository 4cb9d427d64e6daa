import { hash, randomBytes } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { codeOf } from "../../files/system-error.ts";

/**
 * A draft of `--output` names the process that writes it and the machine or container of that process: only there does an
 * unused process number prove that the process is gone.
 */
const DRAFT = /^\.keyctl-output-([0-9a-f]{16})-([1-9][0-9]{0,9})-[0-9a-f]{12}$/;

/** A new draft of this process. */
export function draftName(): string {
  return `.keyctl-output-${processSpace()}-${process.pid}-${randomBytes(6).toString("hex")}`;
}

/** Removes drafts in this folder whose process is gone, before this process creates one. A draft that cannot be read or removed stays. */
export function sweepDrafts(folder: string): void {
  for (const name of namesIn(folder)) {
    const [, space, pid] = DRAFT.exec(name) ?? [];
    if (space !== processSpace() || isRunning(Number(pid))) continue;
    try {
      const file = join(folder, name);
      if (lstatSync(file).isFile()) rmSync(file);
    } catch {
      // Another run was faster, or this one lacks permission.
    }
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // Creating a file in it reports the reason.
  }
}

/** The scope of process numbers: this machine, and on Linux this container. */
function processSpace(): string {
  const parts = [
    hostname(),
    textOf(() => readFileSync("/etc/machine-id", "utf8")),
    textOf(() => readlinkSync("/proc/self/ns/pid")),
  ];
  return hash("sha256", JSON.stringify(parts), "hex").slice(0, 16);
}

function textOf(read: () => string): string {
  try {
    return read();
  } catch {
    return ""; // This system has no such id.
  }
}

function isRunning(pid: number): boolean {
  // The draft is of an earlier process with our number.
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return codeOf(thrown) !== "ESRCH";
  }
}

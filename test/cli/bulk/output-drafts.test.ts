import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { draftName, sweepDrafts } from "../../../src/cli/bulk/output-drafts.ts";

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-drafts-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** The number of a process that has ended. */
function goneProcess(): number {
  return spawnSync("true").pid;
}

/** A draft of this process, as another one would have named it. */
function draftOf(pid: number): string {
  return draftName().replace(`-${process.pid}-`, `-${pid}-`);
}

it("sweeps the drafts whose process is gone, whatever they were to become", () => {
  const folder = emptyFolder();
  const ofAnEarlierProcessWithOurNumber = draftName();
  for (const name of [draftOf(goneProcess()), draftOf(goneProcess()), ofAnEarlierProcessWithOurNumber, "out.jsonl"])
    writeFileSync(join(folder, name), "");
  sweepDrafts(folder);
  expect(readdirSync(folder)).toEqual(["out.jsonl"]);
});

it("leaves drafts of processes that run, or of which it cannot know", () => {
  const folder = emptyFolder();
  const gone = draftOf(goneProcess());
  const elsewhere = gone.replace(/[0-9a-f]{16}/, "0123456789abcdef");
  const kept = [draftOf(process.ppid), draftOf(1), elsewhere];
  for (const name of kept) writeFileSync(join(folder, name), "");
  sweepDrafts(folder);
  expect(readdirSync(folder).toSorted()).toEqual(kept.toSorted());
});

it("touches nothing that is not a draft of ours", () => {
  const folder = emptyFolder();
  const gone = draftOf(goneProcess());
  const files = [`x${gone}`, `${gone}x`, gone.slice(0, -1), gone.slice(1), ".out.jsonl.0123456789ab", `${gone}.jsonl`];
  for (const name of files) writeFileSync(join(folder, name), "");
  const [link, subfolder] = [draftOf(goneProcess()), draftOf(goneProcess())];
  symlinkSync(join(folder, files[0] ?? ""), join(folder, link));
  mkdirSync(join(folder, subfolder));
  sweepDrafts(folder);
  expect(readdirSync(folder).toSorted()).toEqual([...files, link, subfolder].toSorted());
});

it("needs no folder that can be read", () => {
  expect(() => sweepDrafts(join(emptyFolder(), "missing"))).not.toThrow();
});

import type { Command } from "commander";
import { KeyctlError } from "../../../core/model/errors.ts";
import { rotateFailed, rotatePreviewFailed } from "../../../core/model/rotate-results.ts";
import type { RotatePreview, RotateResult } from "../../../core/model/rotate-results.ts";
import { parseUserId } from "../../../core/model/user-id.ts";
import type { UserIdBatches, UserId } from "../../../core/model/user-id.ts";
import { counted, plural } from "../../../core/text/format.ts";
import { firstOfOne } from "../../bulk/dry-run.ts";
import { permittedKeys } from "../../bulk/key-permission.ts";
import { oneByOne } from "../../bulk/one-by-one.ts";
import { isRefusedAsBlocked, ResultCounts } from "../../bulk/result-counts.ts";
import type { LeftUsers } from "../../bulk/result-counts.ts";
import { forUsers } from "../../bulk/user-command-runner.ts";
import type { UserCommand } from "../../bulk/user-command.ts";
import { formatExactly } from "../../format-duration.ts";
import type { Invocation, Run } from "../../invocation.ts";
import { sayWarnings } from "../../views/key-view.ts";
import { finish } from "./finish.ts";
import { addRotateOptions, manyOptionsOf, refuseContradictions, refuseFlagsOfMany, taskOf } from "./rotate-flags.ts";
import type { RotateFlags } from "./rotate-flags.ts";
import { rotationOutcome, previewDocument, rotateDocument, showRotation } from "./rotate-view.ts";

const LEFT_UNROTATED: LeftUsers = { how: "with an old key", verb: "rotate" };

export function configureCommand(command: Command, run: Run): void {
  addRotateOptions(command)
    .addHelpText(
      "after",
      `
Replaces a key that works: a new key is created with the terms and restrictions
of the old one, is verified, and takes its place. The old key goes on working
for a grace, so that programs that still hold it have time to read the new one.
Whatever fails before that leaves the old key as it was. After the grace,
keyctl rotate --finish removes the old key; run it every few minutes.

Of a limited key, the new key gets what is left, and the whole limit at the next
reset (--limit keep). Needs a management key in OPENROUTER_PROVISIONING_KEY.
For many users a terminal is asked; elsewhere, more than 10 keys want
--max-keys.

Examples:
  keyctl rotate --user alice
  keyctl rotate --user alice --grace 1h
  keyctl rotate --all --older-than 90d --dry-run
  keyctl rotate --all --older-than 90d --max-keys 500 --max-failures 5% --json
  keyctl rotate --finish`,
    )
    .action(run((invocation, flags: RotateFlags) => rotate(invocation, flags)));
}

async function rotate(invocation: Invocation, flags: RotateFlags): Promise<KeyctlError | null> {
  refuseContradictions(flags);
  if (flags.finish === true) return finish(invocation, flags.reason);
  return flags.dryRun === true
    ? forUsers(invocation, flags, previewCommand(invocation, flags))
    : forUsers(invocation, flags, rotateCommand(invocation, flags));
}

function rotateCommand(invocation: Invocation, flags: RotateFlags): UserCommand<RotateResult> {
  const { signal } = invocation;
  const options = { signal, reason: flags.reason, ...taskOf(flags) };
  const ofMany = { ...options, ...manyOptionsOf(flags) };
  const selected = new SelectedUsers();
  let maxKeys = 0;
  return {
    name: "rotate",
    needs: { mayCreateStore: false, logs: "all" },
    one(manager, user) {
      refuseFlagsOfMany(flags);
      return manager.rotate(user, options);
    },
    async confirm({ manager, rotateGraceMs }, selection, users) {
      maxKeys = await permittedKeys(invocation, flags, {
        selection,
        users,
        preview: (batches) => manager.previewRotateMany(batches, ofMany),
        done: "rotated",
        statement: (count) => statementOf(count, flags.grace ?? rotateGraceMs()),
      });
    },
    // One user at a time, so that the log lines of two users do not mix.
    many(manager, batches, _selection, stop) {
      const users = selected.counted(batches);
      return flags.log === true
        ? manager.rotateMany(oneByOne(users, stop), { ...ofMany, maxKeys, stop, concurrency: 1 })
        : manager.rotateMany(users, { ...ofMany, maxKeys, stop });
    },
    failed: rotateFailed,
    document: rotateDocument,
    show: (result) => showRotation(invocation.terminal, result),
    hasChanged: ({ key }) => key !== null,
    columns: [{ title: "USER", shrinks: true }, { title: "KEY" }, { title: "RESULT" }],
    cells: (result) => [result.userId, result.key?.masked ?? "-", rotationOutcome(result)],
    score: () =>
      new ResultCounts({
        endings: ["rotated"],
        endingOf: () => "rotated",
        isBlocked: isRefusedAsBlocked,
        left: LEFT_UNROTATED,
        selected: () => selected.count,
        remark: ({ previous }) =>
          previous?.revocation === "scheduled" ? "keyctl rotate --finish   removes the old keys in time" : undefined,
      }),
  };
}

function previewCommand(invocation: Invocation, flags: RotateFlags): UserCommand<RotatePreview> {
  const { terminal, signal } = invocation;
  const options = { signal, ...taskOf(flags) };
  const selected = new SelectedUsers();
  return {
    name: "rotate",
    needs: { mayCreateStore: false, logs: "none" },
    onlyReads: true,
    one(manager, user) {
      refuseFlagsOfMany(flags);
      return firstOfOne(parseUserId(user), (batches) => manager.previewRotateMany(batches, options));
    },
    many: (manager, batches) =>
      manager.previewRotateMany(selected.counted(batches), {
        ...options,
        ...manyOptionsOf(flags),
        maxKeys: flags.maxKeys,
      }),
    failed: rotatePreviewFailed,
    document: previewDocument,
    async show({ current, warnings, error }) {
      sayWarnings(terminal, warnings);
      if (error !== null) return;
      await terminal.result(`rotate would replace ${current?.key ?? "the key"}`);
    },
    columns: [{ title: "USER", shrinks: true }, { title: "KEY" }, { title: "ROTATE WOULD" }],
    cells: ({ userId, current, error }) => [userId, current?.key ?? "-", error?.message ?? "replace it"],
    score: () =>
      new ResultCounts({
        endings: ["to_rotate"],
        endingOf: () => "to_rotate",
        isBlocked: isRefusedAsBlocked,
        left: LEFT_UNROTATED,
        selected: () => selected.count,
        isDryRun: true,
      }),
  };
}

/** The users of a selection, of whom some have no key that is to be rotated. */
class SelectedUsers {
  count = 0;

  async *counted(batches: UserIdBatches): AsyncGenerator<readonly UserId[]> {
    for await (const batch of batches) {
      this.count += batch.length;
      yield batch;
    }
  }
}

function statementOf(count: number, graceMs: number): string {
  const old = plural(count, "the old key", "old keys");
  const fate =
    graceMs === 0
      ? `${old} ${plural(count, "is", "are")} deleted at once`
      : `${old} ${plural(count, "stays", "stay")} active for ${formatExactly(graceMs)}`;
  return `This rotates ${counted(count, "key")} at OpenRouter (${fate}).`;
}

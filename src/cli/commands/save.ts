import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import type { KeyManager } from "../../core/manager/manager.ts";
import { toKeyctlError } from "../../core/async/deadline.ts";
import { saveFailed } from "../../core/model/results.ts";
import { printable } from "../../core/text/printable.ts";
import { userFlag } from "../../core/text/shell-quote.ts";
import { parseUserId } from "../../core/model/user-id.ts";
import { inHome } from "../../files/home-folder.ts";
import { readNamedFile } from "../../files/named-file.ts";
import { addCreateOption } from "./create-option.ts";
import type { CreateFlags } from "./create-option.ts";
import { addReasonOption } from "./reason-option.ts";
import type { ReasonFlags } from "./reason-option.ts";
import { askForKey, emptyInput, keyText, MAX_KEY_BYTES, readKeyInput } from "./key-input.ts";
import { userDocument } from "../invocation.ts";
import { cannotPrompt, Declined } from "../terminal/unanswered.ts";
import type { Invocation, Run } from "../invocation.ts";
import { addUserOption, oneUser } from "../bulk/selection.ts";
import { sayWarnings } from "../views/key-view.ts";
import { showResult } from "../terminal/end-of-run.ts";

interface SaveFlags extends CreateFlags, ReasonFlags {
  readonly user?: readonly string[];
  readonly stdin?: true;
  readonly fromFile?: string;
  readonly replace?: true;
  readonly validate?: true;
  readonly revoke?: true;
  readonly source?: string;
}

type Saved = Awaited<ReturnType<KeyManager["save"]>>;

export function configureCommand(command: Command, run: Run): void {
  addReasonOption(addCreateOption(addUserOption(command, "whose key")))
    .option("--stdin", "read the key from standard input")
    .option("--from-file <path>", "read the key from a file")
    .option("--replace", "replace another key without asking")
    .option("--validate", "ask OpenRouter first, and store only a key that works")
    .option("--revoke", "also delete the replaced key at OpenRouter, if keyctl created it")
    .option("--source <text>", "the origin of the key, stored in the database (default manual)")
    .addHelpText(
      "after",
      `
Without --from-file, asks for the key on the terminal and does not show it; off
a terminal, --stdin reads it.

Examples:
  keyctl save --user alice
  keyctl save --user alice --from-file key.txt --replace
  pass show openrouter/alice | keyctl save --user alice --stdin`,
    )
    .action(run((invocation, flags: SaveFlags) => save(invocation, flags)));
}

async function save(invocation: Invocation, flags: SaveFlags): Promise<KeyctlError | null> {
  const { terminal, receivedSignal } = invocation;
  const user = oneUser("save", flags.user);
  const result = await attempt(invocation, user, flags);
  const { error } = result;
  const line = result.changed ? `${user}, ${result.key?.masked ?? "-"}, ${changeOf(result)}` : null;
  return showResult(terminal, error, line, () =>
    terminal.options.json
      ? terminal.document(userDocument(document(result), error, receivedSignal()))
      : show(invocation, result),
  );
}

async function attempt(invocation: Invocation, user: string, flags: SaveFlags): Promise<Saved> {
  try {
    parseUserId(user);
    const key = await readKey(invocation, user, flags);
    const needs = { mayCreateStore: true, create: flags.create === true, logs: "all" } as const;
    const task = { user, key, flags };
    const result = await invocation.withManager(needs, ({ manager }) => saveOrAsk(invocation, manager, task));
    const isEmpty = key === "" && flags.stdin === true && !invocation.terminal.options.isInteractive;
    return isEmpty ? { ...result, error: emptyInput(insteadFor(user)) } : withInput(result, flags);
  } catch (thrown) {
    return saveFailed(user, toKeyctlError(thrown));
  }
}

/** A text that is no key comes with the place that it was read from. */
function withInput(result: Saved, { fromFile, stdin }: SaveFlags): Saved {
  const { error } = result;
  const place = fromFile ?? (stdin === true ? "standard input" : undefined);
  if (place === undefined || (error?.code !== "BAD_KEY_FORMAT" && error?.code !== "KEY_IS_MASKED")) return result;
  const hint = error.hint === null ? {} : { hint: error.hint };
  return { ...result, error: new KeyctlError(error.code, `${printable(place)}: ${error.message}`, hint) };
}

async function saveOrAsk(
  invocation: Invocation,
  manager: KeyManager,
  { user, key, flags }: { readonly user: string; readonly key: string; readonly flags: SaveFlags },
): Promise<Saved> {
  const { signal, terminal } = invocation;
  const { source, validate, revoke, reason } = flags;
  const options = { signal, reason, source, validate, revoke };
  const result = await manager.save(user, key, { ...options, replace: flags.replace === true ? "any" : "none" });
  if (result.error?.code !== "KEY_EXISTS") return result;
  const hint = invocation.commandAgain("--replace");
  if (!terminal.options.isInteractive) throw new KeyctlError("KEY_EXISTS", result.error.message, { hint });

  const before = await manager.previewPurge(user, { signal, looksAhead: false });
  const { confirm } = await invocation.prompt();
  const { key: mask, origin } = before.former ?? { key: null, origin: "" };
  if (
    !(await confirm(
      `${printable(user)} already has another key (${mask ?? "unreadable"}, from ${printable(origin)}). Replace it${flags.revoke === true ? " and delete it at OpenRouter" : ""}?`,
    ))
  ) {
    throw new Declined(hint);
  }
  return manager.save(user, key, { ...options, replace: { keyHash: before.former?.keyHash ?? null } });
}

async function readKey(invocation: Invocation, user: string, { stdin, fromFile }: SaveFlags): Promise<string> {
  const { terminal, environment, signal } = invocation;
  if (stdin === true && fromFile !== undefined) {
    throw new KeyctlError("USAGE", "two inputs are given for the key", {
      hint: "give --stdin or --from-file, not both",
    });
  }
  if (fromFile !== undefined) return keyText(await bytesOfFile(inHome(fromFile, environment), signal));
  const question = `OpenRouter key of ${printable(user)}:`;
  const instead = insteadFor(user);
  if (stdin === true) return readKeyInput(invocation, question, instead);
  if (terminal.options.isInteractive) return askForKey(invocation, question);
  throw new KeyctlError("USAGE", cannotPrompt(terminal), { hint: instead });
}

function insteadFor(user: string): string {
  return `keyctl save ${userFlag(user)} --stdin < key.txt`;
}

async function bytesOfFile(path: string, signal: AbortSignal): Promise<Uint8Array> {
  const file = await readNamedFile(path, MAX_KEY_BYTES, { signal });
  if (file.status === "read") return file.bytes;
  const reason = file.status === "absent" ? "it does not exist" : file.reason;
  throw new KeyctlError("USAGE", `${printable(path)} cannot be read: ${reason}`, {
    hint: "give a file that holds one key, or --stdin",
  });
}

function document({ userId, key, keyHash, origin, changed, verdict, previous, warnings }: Saved): object {
  return {
    user_id: userId,
    key: key?.masked ?? null,
    key_hash: keyHash,
    source: origin,
    origin,
    changed,
    verdict: verdict?.status ?? null,
    reason: verdict?.reason ?? null,
    previous:
      previous === null
        ? null
        : {
            key: previous.key,
            key_hash: previous.keyHash,
            origin: previous.origin,
            revocation: previous.revocation,
          },
    warnings,
  };
}

function changeOf({ changed, previous }: Saved): string {
  if (!changed) return "already there";
  return previous === null ? "saved" : "replaced";
}

async function show({ terminal }: Invocation, result: Saved): Promise<void> {
  const { key, changed, previous, warnings, error } = result;
  sayWarnings(terminal, warnings);
  if (key === null || (error !== null && !changed)) return;
  await terminal.result(`${key.masked} (${terminal.paint.bold(changeOf(result))})`);
  if (previous !== null) {
    const replacedKey = `the key it replaced (${previous.key ?? "unreadable"})`;
    if (previous.revocation === "done") terminal.note(`${replacedKey} was deleted at OpenRouter`);
    if (previous.revocation === "kept" || previous.revocation === "not_ours") {
      terminal.note(`${replacedKey} still works at OpenRouter`);
      terminal.hint("remove it at https://openrouter.ai/keys if nobody else uses it");
    }
  }
}

import { hash } from "node:crypto";
import type { Command } from "commander";
import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import type { KeyManager } from "../../core/manager/manager.ts";
import { isOfNoUser, noUserError } from "../../core/model/key-record.ts";
import { parseGivenUserId, repeatableGivenId } from "../../core/model/management-key.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { inGroup, USERS } from "../help-format.ts";
import { refuseOtherFormats } from "./other-formats.ts";
import { SeenIds } from "./seen-ids.ts";
import { isPipe } from "../../files/named-file.ts";
import { bytesOf, linesOf, USERS_FILE } from "./users-file.ts";

export interface SelectionOptions {
  readonly user?: readonly string[];
  readonly usersFile?: string;
  readonly all?: true;
  readonly shard?: Shard;
}

/** One of `count` equal parts of all users; `index` counts from 1. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** Which users a command is for. */
export type Selection =
  | { readonly kind: "one"; readonly user: string }
  | { readonly kind: "listed"; readonly users: readonly string[]; readonly shard: Shard | undefined }
  | { readonly kind: "file"; readonly path: string; readonly shard: Shard | undefined }
  | { readonly kind: "all"; readonly shard: Shard | undefined };

/** A line of the selection that is not a user id. */
export interface BadLine {
  /** Empty if it may be a secret. */
  readonly text: string;
  readonly error: KeyctlError;
  /** How many users of the selection precede it. */
  readonly usersBefore: number;
}

export function addUserOption(command: Command, description: string): Command {
  return command.option("-u, --user <id>", description, collect);
}

/** The one user of `keyctl <verb>`. Throws USAGE; `hint` is what to do if none is given. */
export function oneUser(
  verb: string,
  users: readonly string[] = [],
  hint: string = `keyctl ${verb} --user <id>`,
): string {
  const [user, ...more] = users;
  if (user === undefined) throw new KeyctlError("USAGE", "no user given", { hint });
  if (more.length === 0) return user;
  throw new KeyctlError("USAGE", `keyctl ${verb} is for one user at a time`, { hint: "give --user once" });
}

export function addSelection(command: Command): Command {
  return inGroup(command, USERS, (group) =>
    addShardOption(addNamedOptions(group).option("--all", "every user in the database")),
  );
}

/** Without `--all`. */
export function addNamedSelection(command: Command): Command {
  return inGroup(command, USERS, (group) => addShardOption(addNamedOptions(group)));
}

function addNamedOptions(command: Command): Command {
  return addUserOption(command, "the user (may be repeated)").option(
    "--users-file <path|->",
    "a file of user ids, one per line",
  );
}

function addShardOption(command: Command): Command {
  return command.option("--shard <i/n>", "only the i-th of n equal parts of the users", parseShard);
}

export interface SelectionRules {
  /** A single user is a bulk run, too. */
  readonly asMany?: boolean;
  /** There is no `--all`. */
  readonly named?: boolean;
}

/** Throws USAGE unless the flags name users in exactly one way. */
export function selectionOf(
  { user, usersFile, all, shard }: SelectionOptions,
  { asMany = false, named = false }: SelectionRules = {},
): Selection {
  const ways = [user, usersFile, all].filter((way) => way !== undefined);
  if (ways.length !== 1) {
    const message = ways.length === 0 ? "no user given" : "users are given in more than one way";
    const known = named ? "--user <id> or --users-file <path>" : "--user <id>, --users-file <path> or --all";
    throw new KeyctlError("USAGE", message, { hint: `give ${known}` });
  }
  if (all === true) return { kind: "all", shard };
  if (usersFile !== undefined) return { kind: "file", path: usersFile, shard };
  const [first, ...more] = user ?? [];
  if (first !== undefined && more.length === 0 && shard === undefined && !asMany) return { kind: "one", user: first };
  return { kind: "listed", users: user ?? [], shard };
}

export interface UserStream {
  readonly manager: KeyManager;
  readonly managementKeyHashes: () => ReadonlySet<string>;
  readonly signal: AbortSignal;
  /** Standard input, or another pipe. */
  readonly input: () => AsyncIterable<Uint8Array>;
  readonly onBadLine: (line: BadLine) => void;
  /** Called for a line with a user of an earlier one. */
  readonly onRepeated: () => void;
}

/** Any selection but one user. */
export type Many = Exclude<Selection, { kind: "one" }>;

/** Small enough for a commit well under 50 ms, and large enough to make a commit's fsync negligible. */
const BATCH = 500;

/** The users of a selection, each once, in the order of the selection; users that have arrived do not wait for a full batch. */
export async function* usersOf(selection: Many, stream: UserStream): AsyncGenerator<readonly UserId[]> {
  const seen = new SeenIds();
  const hashes = stream.managementKeyHashes();
  let usersBefore = 0;
  const onFault = (text: string, error: KeyctlError) => {
    if (isInShard(text, selection.shard))
      stream.onBadLine({ text: repeatableGivenId(text, hashes), error, usersBefore });
  };
  if (selection.kind === "all") {
    for await (const users of allUsers(stream, onFault)) {
      const batch = users.filter((user) => isInShard(user, selection.shard));
      usersBefore += batch.length;
      yield batch;
    }
    return;
  }
  for await (const texts of textsOf(selection, stream)) {
    for (let start = 0; start < texts.length; start += BATCH) {
      const batch: UserId[] = [];
      for (const text of texts.slice(start, start + BATCH)) {
        const user = parsed(text, hashes, (error) => onFault(text, error));
        if (user === undefined || !isInShard(user, selection.shard)) continue;
        if (!seen.add(user)) {
          stream.onRepeated();
          continue;
        }
        batch.push(user);
        usersBefore += 1;
      }
      yield batch;
    }
  }
}

/** How many keys the database holds for this shard of its users. */
export async function countSelected(
  manager: KeyManager,
  shard: Shard | undefined,
  signal: AbortSignal,
): Promise<number> {
  if (shard === undefined) return manager.count({ signal });
  let count = 0;
  for await (const { userId } of manager.rows({ signal })) if (isInShard(userId, shard)) count += 1;
  return count;
}

/** How many lines of a users file are for this shard, with those of repeated users and those that are not user ids. */
export async function countLines(
  { path, shard }: Extract<Many, { kind: "file" }>,
  signal: AbortSignal,
): Promise<number> {
  let count = 0;
  for await (const texts of linesOf(bytesOf(path, USERS_FILE, signal))) {
    signal.throwIfAborted();
    count += shard === undefined ? texts.length : texts.filter((text) => isLineInShard(text, shard)).length;
  }
  return count;
}

function isLineInShard(text: string, shard: Shard): boolean {
  return isInShard(parsed(text, new Set(), () => {}) ?? text, shard);
}

async function* textsOf(
  selection: Exclude<Many, { kind: "all" }>,
  stream: UserStream,
): AsyncGenerator<readonly string[]> {
  if (selection.kind === "listed") yield selection.users;
  if (selection.kind === "file") {
    const bytes = isPiped(selection) ? stream.input() : bytesOf(selection.path, USERS_FILE, stream.signal);
    yield* userLines(selection.path, bytes);
  }
}

/** Throws USAGE for the beginning of another format. */
async function* userLines(path: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[]> {
  let isBegun = false;
  for await (const texts of linesOf(bytes)) {
    if (!isBegun) refuseOtherFormats(texts, path);
    isBegun ||= texts.length > 0;
    yield texts;
  }
}

/** Looks at the beginning of a users file before anything is done. Throws USAGE if it cannot be used. */
export async function inspectUsersFile(selection: Many, signal: AbortSignal): Promise<void> {
  if (selection.kind !== "file" || isPiped(selection)) return;
  const bytes = bytesOf(selection.path, USERS_FILE, signal);
  for await (const texts of userLines(selection.path, bytes)) if (texts.length > 0) return;
}

/** True if the users come from standard input or another pipe: they arrive once, and their number is not known before. */
export function isPiped(selection: Many): boolean {
  return selection.kind === "file" && (selection.path === "-" || isPipe(selection.path));
}

/** What the database gives is an id, as it stands there, and comes once. A row of no single user is no user's. */
async function* allUsers(
  { manager, signal }: UserStream,
  onFault: (text: string, error: KeyctlError) => void,
): AsyncGenerator<readonly UserId[]> {
  let batch: UserId[] = [];
  for await (const row of manager.rows({ signal })) {
    if (isOfNoUser(row)) onFault(row.userId, noUserError(row));
    else batch.push(row.userId);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}

function parsed(
  text: string,
  managementKeyHashes: ReadonlySet<string>,
  onError: (error: KeyctlError) => void,
): UserId | undefined {
  try {
    return parseGivenUserId(text, managementKeyHashes);
  } catch (thrown) {
    if (!isKeyctlError(thrown)) throw thrown;
    onError(thrown);
    return undefined;
  }
}

function isInShard(user: string, shard: Shard | undefined): boolean {
  if (shard === undefined) return true;
  return hash("sha256", user, "buffer").readUInt32BE(0) % shard.count === shard.index - 1;
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}

function parseShard(text: string): Shard {
  const [, index, count] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (index === undefined || count === undefined || index < 1 || index > count) {
    throw new KeyctlError("USAGE", "--shard takes i/n, with i from 1 to n", { hint: "--shard 1/4" });
  }
  return { index, count };
}

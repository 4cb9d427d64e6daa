import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { parseKeyName, userPrefixOf } from "../../../src/core/model/key-name.ts";
import type { UserId } from "../../../src/core/model/user-id.ts";
import { parseDuration } from "../../../src/core/text/duration.ts";
import type { Listed } from "../../model/accesses.ts";
import { accepts } from "../../model/trace.ts";
import type { Acceptance, Recorded, TraceOptions } from "../../model/trace.ts";
import type { ActorKind, Command } from "../../model/command.ts";
import type { Listing, RawAccess } from "./recorder.ts";

/** The accesses of one command for one user, in the terms of the model. */
export interface UserTrace {
  readonly user: string;
  readonly kind: ActorKind;
  readonly options: TraceOptions;
  readonly trace: readonly Recorded[];
}

/** The command line, and the key that was given to it or found in a source. */
export interface RecordedCommand {
  readonly args: readonly string[];
  readonly key?: string | undefined;
  /** The hourly cap on keys that are created automatically; null: no cap. */
  readonly cap: number | null;
  /** Whether the command reported success. Then its trace must be complete. */
  readonly succeeded: boolean;
}

export function replayed({ kind, options, trace }: UserTrace): Acceptance {
  return accepts(kind, options, trace);
}

/** The traces that the model refuses, as readable text. */
export function refusalsOf(traces: readonly UserTrace[]): readonly string[] {
  return traces.flatMap((one) => {
    const acceptance = replayed(one);
    if (acceptance.ok) return [];
    const { at, expected, got } = acceptance;
    const before = one.trace.slice(0, at).map((access) => JSON.stringify(access));
    return [
      `${one.kind} ${JSON.stringify(one.options)} of ${one.user}: expected ${expected.join(" or ")}, got ${JSON.stringify(got)} after\n${before.join("\n")}`,
    ];
  });
}

/** The accesses of a process, in the order in which they began. */
function rawAccessesIn(path: string): readonly RawAccess[] {
  if (!existsSync(path)) return [];
  const byId = new Map<number, RawAccess>();
  // Each line is one write, so a killed process leaves no partial line.
  for (const line of readFileSync(path, "utf8").split("\n").slice(0, -1)) {
    const { id, ...rest } = JSON.parse(line) as RawAccess & { readonly id: number };
    byId.set(id, { ...byId.get(id), ...rest });
  }
  return [...byId.values()];
}

/** Whether a compare-and-set of the store is atomic. */
const ATOMIC = "atomic changes";

/** The recorded accesses as one trace for each user. */
export function tracesOf(path: string, command: RecordedCommand): readonly UserTrace[] {
  if (isOutsideTheModel(command)) return [];
  const recorded = rawAccessesIn(path);
  const split = recorded.some(({ access, result }) => access === ATOMIC && result === false);
  const raw = attributed(recorded.filter(({ access }) => access !== ATOMIC));
  const users = new Set(raw.flatMap(({ user }) => (user === null ? [] : [user])));
  const kind = kindOf(command.args);
  return [...users].map((user) => ({
    user,
    kind,
    options: { ...optionsOf(command, kind), ...aboutOf(command, kind, user, raw), ...(split ? { split } : {}) },
    trace: new Translation(user, kind, command, raw).trace(),
  }));
}

const WITHOUT_ACTOR: ReadonlySet<string> = new Set(["import", "exec"]);

/** The actor of `leaked` is about one key. */
function isOutsideTheModel({ args: [verb = ""], key = "" }: RecordedCommand): boolean {
  return WITHOUT_ACTOR.has(verb) || (verb === "leaked" && key.trim().includes("\n"));
}

const KINDS: Readonly<Record<string, ActorKind>> = {
  sync: "sync",
  provision: "sync",
  get: "get",
  save: "save",
  purge: "purge",
  unblock: "unblock",
  rotate: "rotate",
  renew: "renew",
  leaked: "leaked",
  reconcile: "reconcile",
};

function kindOf([verb = "", ...options]: readonly string[]): ActorKind {
  const kind = verb === "rotate" && options.includes("--finish") ? "finish" : KINDS[verb];
  if (kind === undefined) throw new Error(`${verb} is no command of the model`);
  return kind;
}

function optionsOf({ args, key, cap, succeeded }: RecordedCommand, kind: ActorKind): TraceOptions {
  const revoke = args.includes("--revoke-foreign") ? "foreign too" : args.includes("--revoke") ? "ours" : "no";
  // If nothing needs repair, reconcile only looks at the user, and ends before its actor does.
  const ended = succeeded && kind !== "reconcile";
  const deliberate = args[0] === "provision" || kind === "rotate" || kind === "leaked";
  const block = args.includes("--block");
  const more = kind === "rotate" ? rotationOf(args, revoke) : {};
  return { key: hashOf(key), revoke, block, cap, deliberate, ended, ...more };
}

const HASH = /^[0-9a-f]{64}$/;

function hashOf(key: string | undefined): string | null {
  return key === undefined ? null : createHash("sha256").update(key).digest("hex");
}

/**
 * The key that a renewal replaces is the one that it, or the sync before it, has read first. The rotation of a leaked key
 * has no grace.
 */
function aboutOf(
  { args, key }: RecordedCommand,
  kind: ActorKind,
  user: string,
  raw: readonly RawAccess[],
): TraceOptions {
  if (kind === "leaked") {
    const at = args.indexOf("--hash");
    const given = at === -1 ? key?.trim() : args[at + 1];
    const about = HASH.test(given ?? "") ? (given ?? null) : hashOf(given);
    // Each user of a shared key is looked up, and one of them is dealt with.
    const isLookedUpOnly = !raw.some(({ access, user: whose }) => access === "upstream.disable" && whose === user);
    return { about, key: null, revoke: "ours", ...(isLookedUpOnly ? { ended: false } : {}) };
  }
  if (kind !== "renew") return {};
  const first = raw.find(({ access, user: whose }) => access === "row.find" && whose === user)?.result;
  return { about: isRecord(first) ? String(first["hash"]) : null };
}

const DEFAULT_GRACE = "10m";

/** Without a grace, a rotation also ends every grace that is under way. */
function rotationOf(args: readonly string[], revoke: Command["revoke"]): TraceOptions {
  const valueOf = (flag: string) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined);
  const graceMs = parseDuration(valueOf("--grace") ?? DEFAULT_GRACE) ?? 0;
  const namesLimit = (valueOf("--limit") ?? "keep") !== "keep";
  if (graceMs > 0) return { graceMs, namesLimit };
  return { graceMs: null, namesLimit, revoke: revoke === "no" ? "ours" : revoke };
}

const DEFAULT_CAP = 60;

/** The cap, as a command reads it from its environment. */
export function capIn(environment: Readonly<Record<string, string>> = {}): number | null {
  const cap = Number(environment["KEYCTL_MAX_PROVISIONS_PER_HOUR"] ?? DEFAULT_CAP);
  return cap === 0 ? null : cap;
}

/** An access without a user is about the user in its key's name, else about the user of the access before. */
function attributed(raw: readonly RawAccess[]): readonly RawAccess[] {
  const byPrefix = new Map(raw.flatMap(({ user }) => (user === null ? [] : [[userPrefixOf(user as UserId), user]])));
  let current: string | null = null;
  let isListed = false;
  return raw.map((one) => {
    isListed ||= one.access === "upstream.list";
    // After the listing, these accesses look up the owners of the listed keys.
    if (isListed && isClaim(one)) return one;
    const named = typeof one["name"] === "string" ? byPrefix.get(parseKeyName(one["name"])?.userPrefix ?? "") : null;
    current = one.user ?? named ?? current;
    return ABOUT_ALL.has(one.access) ? one : { ...one, user: one.user ?? current };
  });
}

const ABOUT_ALL: ReadonlySet<string> = new Set(["deployment", "spool.may hold keys", "spool.list", "upstream.list"]);

/**
 * Translates calls into accesses of the model's actor for one user. Calls that only plan or attribute, and decide
 * nothing, are left out:
 * - the lookup of the owners of the listed keys (`outcomesOf` all of them, and the entries of a user that is selected
 *   alone);
 * - reconcile's first look at a user, which finds out whether anything needs repair;
 * - the look at a row by which purge and save report what they would change: they read the row again before they change
 *   it;
 * - the outcome of a settled row, which detects a row that was overwritten by a program outside the model;
 * - the look ahead by which a purge reports what the next sync does;
 * - an import's question whether the store knows the operation: only a store restored from an older copy does not.
 */
class Translation {
  readonly #user: string;
  readonly #kind: ActorKind;
  readonly #command: RecordedCommand;
  readonly #raw: readonly RawAccess[];
  readonly #out: Recorded[] = [];
  readonly #nonces = new Map<number, unknown>();
  readonly #deployment: unknown;
  #abandoned = 0;
  /** The key that was created or disabled last. */
  #subject = "";
  /** The generation of the row that was read last, if the row was settled. */
  #settled: number | undefined;

  constructor(user: string, kind: ActorKind, command: RecordedCommand, raw: readonly RawAccess[]) {
    this.#user = user;
    this.#kind = kind;
    this.#command = command;
    this.#raw = raw.filter(({ user: whose, access }) => (whose === user || whose === null) && access !== "deployment");
    this.#deployment = raw.find(({ access }) => access === "deployment")?.result;
  }

  trace(): readonly Recorded[] {
    const listedAt = this.#raw.findIndex(({ access }) => access === "upstream.list");
    const before = listedAt === -1 ? this.#raw : this.#raw.slice(0, listedAt);
    // A purge that died before it changed anything may have only previewed, which reads in an order of its own. A renewal
    // finds out first which key is stored.
    const onlyLooked = listedAt === -1 && before.every(({ access }) => PREVIEWS.has(access));
    const previews =
      this.#kind === "purge" || (this.#kind === "renew" && before.every(({ access }) => access !== FIRST));
    if (onlyLooked && previews && !this.#command.succeeded) return [];
    if (this.#kind === "finish") this.#out.push({ access: "journal.due", result: dueIn(before) });
    for (const one of withoutPreview(before)) this.#translate(one);
    if (listedAt === -1) return this.#out;
    const lists = this.#raw.filter(({ access }) => access === "upstream.list");
    const after = this.#raw.slice(listedAt).filter(({ access }) => access !== "upstream.list");
    this.#list(lists, after);
    for (const one of this.#withoutPlanning(after)) this.#translate(one);
    return this.#out;
  }

  /** The passes of one inventory count as one access. */
  #list(passes: readonly RawAccess[], after: readonly RawAccess[]): void {
    const results = passes.flatMap(({ result }) => (result === undefined ? [] : [result as Listing]));
    if (results.length < passes.length) return void this.#out.push({ access: "upstream.list" });
    if (results.some(({ complete }) => !complete)) {
      return void this.#out.push({ access: "upstream.list", result: "unavailable" });
    }
    const names = new Map(results.flatMap(({ keys }) => keys.map(({ hash, name }) => [hash, name])));
    const claims = after.filter(isClaim).flatMap(({ result = [] }) => result as readonly Holder[]);
    const claimed = claims.filter(({ user, hash }) => user === this.#user && names.has(hash)).map(({ hash }) => hash);
    const others = new Set(claims.map(({ hash }) => hash));
    const named = [...names].filter(([hash, name]) => !others.has(hash) && this.#isTheirs(name)).map(([hash]) => hash);
    const result = [...claimed, ...named].map((hash) => ({
      hash,
      generation: parseKeyName(names.get(hash) ?? "")?.n ?? 0,
    }));
    this.#out.push({ access: "upstream.list", result });
  }

  #isTheirs(name: string): boolean {
    const parsed = parseKeyName(name);
    return parsed?.deployment === this.#deployment && parsed?.userPrefix === userPrefixOf(this.#user as UserId);
  }

  #withoutPlanning(after: readonly RawAccess[]): readonly RawAccess[] {
    const rest = after.filter((one) => !isClaim(one) && one.user === this.#user);
    const found = rest.findIndex(({ access }) => access === "row.find");
    if (found === -1) return [];
    if (this.#kind !== "reconcile") return rest.slice(found);
    const planned = rest.findIndex(({ access }, at) => at > found && access === "journal.records");
    return planned === -1 ? [] : rest.slice(planned + 1);
  }

  #translate({ user: _user, ...one }: RawAccess): void {
    this.#remember(one);
    if (one.access === "journal.read out" && one["generation"] === this.#settled) return;
    if (one.access === "journal.read op" && this.#out.at(-1)?.access !== "journal.insert op") return;
    if (this.#kind === "purge" && LOOKS_AHEAD.has(one.access)) return;
    const translated = (TRANSLATIONS[one.access] ?? unchanged)(one, this);
    if (translated === undefined) return;
    const isRelisted = translated.access === "spool.list" && this.#out.at(-1)?.access === "spool.list";
    if (isRelisted) this.#out.pop();
    this.#out.push(translated);
  }

  #remember({ access, result, ...operands }: Recorded): void {
    if (access === "row.find")
      this.#settled = isRecord(result) && result["settled"] === true ? Number(result["generation"]) : undefined;
    // Only the read that follows the row detects an overwritten row.
    if (access === "journal.last op") this.#settled = undefined;
    if (access === "upstream.post" && isRecord(result)) this.#subject = String(result["created"]);
    if (access === "upstream.disable") this.#subject = String(operands["hash"]);
    if (access === "journal.insert op") this.#nonces.set(Number(operands["generation"]), operands["nonce"]);
    if (access === "journal.last op" && isRecord(result)) this.#nonces.set(Number(result["n"]), result["nonce"]);
    if (access === "journal.insert out") this.#abandoned = Number(operands["generation"]);
  }

  /** The hashes of the listed keys of this user that belong to the last abandoned operation. */
  matches({ keys }: Listing): readonly string[] {
    return keys.flatMap(({ hash, name }) => {
      const parsed = parseKeyName(name);
      const isIt = parsed?.n === this.#abandoned && parsed.nonce === this.#nonces.get(parsed.n);
      return isIt && this.#isTheirs(name) ? [hash] : [];
    });
  }

  get abandoned(): number {
    return this.#abandoned;
  }

  get user(): string {
    return this.#user;
  }

  get subject(): string {
    return this.#subject;
  }

  get looksForOthers(): boolean {
    return (this.#kind === "purge" || this.#kind === "rotate") && this.#command.args.includes("--revoke-foreign");
  }
}

/**
 * The keys that a finish found by an index, which is no access about one user. It reads the outcome and the mark of each,
 * and may die in between.
 */
function dueIn(raw: readonly RawAccess[]): readonly number[] {
  const first = raw[0]?.access === "journal.read out" ? raw.slice(0, 1) : [];
  const marked = raw.filter(({ access }) => access === "journal.read del");
  return [...new Set([...first, ...marked].map(({ generation }) => Number(generation)))];
}

/** A preview looks into the spool, too. So the command itself begins with its last such look before it acts. */
function withoutPreview(raw: readonly RawAccess[]): readonly RawAccess[] {
  const acting = raw.findIndex(({ access }) => !PREVIEWS.has(access));
  const began = raw.slice(0, acting === -1 ? raw.length : acting).findLastIndex(({ access }) => access === FIRST);
  return began === -1 ? raw : raw.slice(began);
}

/** The accesses by which a purge reports what the next sync does. */
const LOOKS_AHEAD: ReadonlySet<string> = new Set(["journal.live operations", "journal.holding"]);

const FIRST = "spool.may hold keys";
const PREVIEWS: ReadonlySet<string> = new Set([
  FIRST,
  "spool.list",
  "row.find",
  "row.scan",
  "journal.records",
  "journal.read out",
]);

interface Holder {
  readonly user: string;
  readonly hash: string;
}

function isClaim({ access }: RawAccess): boolean {
  return access === "journal.holding";
}

type Translate = (one: Recorded, about: Translation) => Recorded | undefined;

const unchanged: Translate = (one) => one;

/** Translates the answer, if there is one. */
function answered({ result, ...one }: Recorded, translate: (result: never) => unknown): Recorded {
  if (result === undefined) return one;
  return { ...one, result: result === "unavailable" ? result : translate(result as never) };
}

const TRANSLATIONS: Readonly<Record<string, Translate>> = {
  "spool.may hold keys": ({ result }) => (result === false ? { access: "spool.list", result: [] } : undefined),
  "spool.list": (one, { user }) =>
    answered(one, (files: readonly (Holder & object)[]) =>
      files.flatMap(({ user: owner, ...file }) => (owner === user ? [file] : [])),
    ),
  "journal.last op": (one) => answered(one, ({ n }: { n: number }) => n),
  "journal.holding": (one) =>
    answered(one, (held: readonly (Holder & Listed)[]) => held.map(({ hash, generation }) => ({ hash, generation }))),
  "row.scan": ({ hash, ...one }, { user, looksForOthers }) =>
    looksForOthers
      ? answered({ ...one, access: "row.others holding", hash }, (owners: readonly string[]) =>
          owners.some((owner) => owner !== user) ? "some" : "none",
        )
      : answered({ ...one, access: "row.holding", hashes: [hash] }, (owners: readonly string[]) =>
          owners.length > 0 ? [hash] : [],
        ),
  // The new list has a key that is added, and lacks one that is taken out.
  "upstream.set allowed keys": ({ hashes, ...one }, { subject }) => {
    const isAdded = (hashes as readonly string[]).includes(subject);
    return { ...one, access: isAdded ? "upstream.attach" : "upstream.detach", hash: subject };
  },
  "upstream.post": ({ name, ...one }) => ({ ...one, generation: parseKeyName(String(name))?.n }),
  // If the listing broke off, only the keys before that point are considered.
  "upstream.list named": (one, about) => ({
    ...answered(one, (listing: Listing) => about.matches(listing)),
    generation: about.abandoned,
  }),
};

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

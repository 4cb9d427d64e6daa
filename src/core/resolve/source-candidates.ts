import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import type { ApiKey } from "../model/api-key.ts";
import type { Log, ExternalSource } from "../model/log-event.ts";
import type { KeySource, SourceReading } from "../ports/stores-and-sources.ts";
import { printable } from "../text/printable.ts";
import { shellQuote, userFlag } from "../text/shell-quote.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning, WarningCode } from "../model/warning.ts";

/** One place outside the database, and its reading. */
export interface Candidate {
  readonly name: ExternalSource;
  /** The place that a person corrects if it holds no key: the path of a file, or the name of a variable. */
  readonly place: string;
  readonly reading: SourceReading;
  /** The error if the place could not be read at all; its reading is then `absent`. */
  readonly failure: KeyctlError | null;
}

const IGNORED: Readonly<Record<ExternalSource, WarningCode>> = {
  "key.txt": "KEY_FILE_IGNORED",
  environment: "ENVIRONMENT_KEY_IGNORED",
};
/** Completes a sentence that begins with the place. */
export const HOLDS_OWED_KEY = "holds a key that keyctl created and marked for deletion at OpenRouter";

/**
 * The places outside the database, read once, in the order of the search.
 * **Invariant:** a place that exists, or that a person named, but holds no key is skipped, and it stops the automatic
 * creation of a key: money is spent only if all places are absent.
 */
export class Candidates {
  readonly all: readonly Candidate[];
  readonly warnings: readonly Warning[];

  private constructor(all: readonly Candidate[], warnings: readonly Warning[]) {
    this.all = all;
    this.warnings = warnings;
  }

  /** As `read`, but a source that fails is skipped with a warning; `failure` holds its error. */
  static async readBeside(sources: readonly KeySource[]): Promise<Candidates> {
    const read = await Promise.all(sources.map(readOrPassOver));
    return new Candidates(
      read,
      read.flatMap((candidate) => [...candidate.warnings, ...warningsFor(candidate)]),
    );
  }

  /** Throws the error of the first source that fails. */
  static async read(sources: readonly KeySource[]): Promise<Candidates> {
    const candidates = await Candidates.readBeside(sources);
    if (candidates.failure !== null) throw candidates.failure;
    return candidates;
  }

  /** The error of the first place that could not be read. */
  get failure(): KeyctlError | null {
    return this.all.find(({ failure }) => failure !== null)?.failure ?? null;
  }

  /** The first place that holds a key. */
  get winner(): { readonly name: ExternalSource; readonly key: ApiKey } | undefined {
    const [first] = this.holders;
    return first;
  }

  get holders(): readonly { readonly name: ExternalSource; readonly key: ApiKey }[] {
    return this.all.flatMap(({ name, reading }) => (reading.status === "found" ? [{ name, key: reading.key }] : []));
  }

  /** The reason why no key is created automatically; null if all places are absent or one holds a key. */
  get refusal(): string | null {
    const [first] = this.#broken;
    return first === undefined || this.winner !== undefined
      ? null
      : faultOf(first, first.name === "key.txt" ? first.name : first.place);
  }

  get #broken(): readonly Candidate[] {
    return this.all.filter(({ reading }) => reading.status !== "absent" && reading.status !== "found");
  }

  /**
   * The error for a user without a key, with the remedy: NO_KEY, or MANAGEMENT_KEY_AS_USER_KEY.
   * @param otherRefusal the reason why no key is created, if that is not a place
   */
  noKey(user: UserId, otherRefusal: string | null = null): KeyctlError {
    const [first] = this.#broken;
    const reason = first === undefined || this.winner !== undefined ? otherRefusal : faultOf(first);
    const repairs = this.#broken.map(repairOf);
    const misplaced = this.all.find(({ reading }) => reading.status === "management-key");
    const steps =
      reason === null
        ? [`keyctl save ${userFlag(user)}`]
        : [
            ...(repairs.length === 0 ? [] : [repairs.join(" and ")]),
            `keyctl provision ${userFlag(user)}   creates a key anyway`,
          ];
    const hint = steps.join("; ");
    if (misplaced !== undefined) {
      return new KeyctlError("MANAGEMENT_KEY_AS_USER_KEY", `${faultOf(misplaced)}, which no user may have`, { hint });
    }
    const message = `no key for user ${printable(user)}`;
    return new KeyctlError("NO_KEY", reason === null ? message : `${message}: ${reason}`, { hint });
  }

  /** The same candidates, with the key in this place skipped because keyctl is about to delete it. */
  withOwed(name: ExternalSource): Candidates {
    const all = this.all.map((candidate): Candidate => {
      const { reading } = candidate;
      if (candidate.name !== name || reading.status !== "found") return candidate;
      return { ...candidate, reading: { status: "owed", key: reading.key } };
    });
    const owed = all.filter((candidate, index) => candidate !== this.all[index]);
    return new Candidates(all, [...this.warnings, ...owed.flatMap(warningsFor)]);
  }

  /** The places that hold another key than this one, and the last four characters of those keys. */
  shadowedBy(key: ApiKey): { readonly shadowed: readonly ExternalSource[]; readonly shadowedTails: readonly string[] } {
    const others = this.holders.filter((holder) => !holder.key.equals(key));
    return { shadowed: others.map(({ name }) => name), shadowedTails: others.map((other) => other.key.tail) };
  }

  /** Logs each place in order: an invalid key, a management key, an unreadable file. Calls `found` for each key. */
  logTo(log: Log, found: (name: ExternalSource, key: ApiKey) => void): void {
    for (const { name, reading } of this.all) {
      if (reading.status === "found") found(name, reading.key);
      if (reading.status === "malformed" || reading.status === "management-key") log({ kind: "malformed", from: name });
      if (reading.status === "unreadable") log({ kind: "unreadable", reason: reading.reason });
    }
  }
}

async function readOrPassOver(source: KeySource): Promise<Candidate & { readonly warnings: readonly Warning[] }> {
  const { name, place } = source;
  try {
    return { name, place, failure: null, ...(await source.read()) };
  } catch (thrown) {
    if (!isKeyctlError(thrown)) throw thrown;
    const warnings = [{ code: IGNORED[name], message: thrown.message }];
    return { name, place, failure: thrown, reading: { status: "absent" }, warnings };
  }
}

function warningsFor({ name, place, reading }: Candidate): readonly Warning[] {
  const called = calledBy(name, place);
  if (reading.status === "malformed") return [{ code: IGNORED[name], message: `${called} ${reading.detail}` }];
  if (reading.status === "unreadable") {
    return [{ code: IGNORED[name], message: `${called} could not be read: ${reading.reason}` }];
  }
  if (reading.status === "management-key") {
    return [{ code: IGNORED[name], message: `${called} holds the management key, which no user may have` }];
  }
  if (reading.status === "owed") return [{ code: IGNORED[name], message: `${called} ${HOLDS_OWED_KEY}` }];
  return [];
}

const NAMED_KEY_TXT = /(?:^|[/\\])key\.txt$/;

/** The file that was given, by its path; `key.txt` wherever a file of this name is. */
function calledBy(name: ExternalSource, place: string): string {
  return name === "key.txt" && NAMED_KEY_TXT.test(place) ? name : printable(place);
}

/** In a log line that other programs search for, the file is `key.txt` wherever it is. */
function faultOf({ name, place, reading }: Candidate, called = calledBy(name, place)): string {
  if (reading.status === "missing") return "the file named in place of key.txt does not exist";
  if (reading.status === "management-key") return `${called} holds the management key`;
  if (reading.status === "owed") return `${called} ${HOLDS_OWED_KEY}`;
  const isThere = name === "key.txt" ? "is there" : "is set";
  return `${called} ${isThere} and ${reading.status === "unreadable" ? "cannot be read" : "holds no valid key"}`;
}

function repairOf({ name, place, reading }: Candidate): string {
  if (name === "environment") return `correct or unset ${place}`;
  return `${reading.status === "missing" ? "put a key into" : "correct or remove"} ${shellQuote(place)}`;
}

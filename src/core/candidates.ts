import { isKeyctlError } from "./errors.ts";
import type { KeyctlError } from "./errors.ts";
import type { ApiKey } from "./api-key.ts";
import type { Log, Shadowed } from "./log.ts";
import type { KeySource, Reading, Warning, WarningCode } from "./ports.ts";

/** One place, and what is there. */
export interface Candidate {
  readonly name: Shadowed;
  readonly reading: Reading;
  /** Why it could not be asked at all; its reading is `absent` then. */
  readonly failure: KeyctlError | null;
}

const IGNORED: Readonly<Record<Shadowed, WarningCode>> = {
  "key.txt": "KEY_FILE_IGNORED",
  environment: "ENVIRONMENT_KEY_IGNORED",
};
/** Completes a sentence that begins with the place. */
export const HOLDS_OWED_KEY = "holds a key that keyctl created, and whose deletion at OpenRouter was decided";
const CALLED: Readonly<Record<Shadowed, string>> = { "key.txt": "key.txt", environment: "OPENROUTER_API_KEY" };

/** What the places outside the database hold, read once, in the order in which they are asked. */
export class Candidates {
  readonly all: readonly Candidate[];
  readonly warnings: readonly Warning[];

  private constructor(all: readonly Candidate[], warnings: readonly Warning[]) {
    this.all = all;
    this.warnings = warnings;
  }

  /** As `read`, where the answer is known already: a source that fails is passed over, with a warning. */
  static async readBeside(sources: readonly KeySource[]): Promise<Candidates> {
    const read = await Promise.all(sources.map(readOrPassOver));
    return new Candidates(
      read,
      read.flatMap((candidate) => [...candidate.warnings, ...complaints(candidate)]),
    );
  }

  /** Throws what a source throws. */
  static async read(sources: readonly KeySource[]): Promise<Candidates> {
    const candidates = await Candidates.readBeside(sources);
    if (candidates.failure !== null) throw candidates.failure;
    return candidates;
  }

  /** Of the first place that could not be asked. */
  get failure(): KeyctlError | null {
    return this.all.find(({ failure }) => failure !== null)?.failure ?? null;
  }

  /** Why no key is created: one is only where nothing is there, and a place that holds what may not be used is something. */
  get refusal(): string | null {
    const [first] = this.all.filter(({ reading }) => reading.status === "owed");
    return first === undefined ? null : `${CALLED[first.name]} ${HOLDS_OWED_KEY}`;
  }

  /** The first place that holds a key. */
  get winner(): { readonly name: Shadowed; readonly key: ApiKey } | undefined {
    const [first] = this.holders;
    return first;
  }

  get holders(): readonly { readonly name: Shadowed; readonly key: ApiKey }[] {
    return this.all.flatMap(({ name, reading }) => (reading.status === "found" ? [{ name, key: reading.key }] : []));
  }

  /** As these, but keyctl is about to delete the winner's key: that place is passed over. */
  withoutWinner(): Candidates {
    const { winner } = this;
    if (winner === undefined) return this;
    const owed = { name: winner.name, failure: null, reading: { status: "owed", key: winner.key } } as const;
    const all = this.all.map((candidate) => (candidate.name === winner.name ? owed : candidate));
    return new Candidates(all, [...this.warnings, ...complaints(owed)]);
  }

  /** The places that hold another key than this one, and that key's last four characters. */
  shadowedBy(key: ApiKey): { readonly shadowed: readonly Shadowed[]; readonly shadowedTails: readonly string[] } {
    const others = this.holders.filter((holder) => !holder.key.equals(key));
    return { shadowed: others.map(({ name }) => name), shadowedTails: others.map((other) => other.key.tail) };
  }

  /**
   * Tells about each place in turn: a key that is no key, or may not be used, a file that cannot be read, and what `found`
   * says of a key.
   */
  tell(log: Log, found: (name: Shadowed, key: ApiKey) => void): void {
    for (const { name, reading } of this.all) {
      if (reading.status === "found") found(name, reading.key);
      if (reading.status === "owed") log({ kind: "owed", from: name });
      if (reading.status === "malformed") log({ kind: "malformed", from: name });
      if (reading.status === "unreadable") log({ kind: "unreadable", reason: reading.reason });
    }
  }
}

async function readOrPassOver(source: KeySource): Promise<Candidate & { readonly warnings: readonly Warning[] }> {
  const { name } = source;
  try {
    return { name, failure: null, ...(await source.read()) };
  } catch (thrown) {
    if (!isKeyctlError(thrown)) throw thrown;
    const warnings = [{ code: IGNORED[name], message: thrown.message }];
    return { name, failure: thrown, reading: { status: "absent" }, warnings };
  }
}

function complaints({ name, reading }: Candidate): readonly Warning[] {
  if (reading.status === "malformed") return [{ code: IGNORED[name], message: `${CALLED[name]} ${reading.detail}` }];
  if (reading.status === "unreadable") {
    return [{ code: IGNORED[name], message: `${CALLED[name]} could not be read: ${reading.reason}` }];
  }
  if (reading.status === "owed") return [{ code: IGNORED[name], message: `${CALLED[name]} ${HOLDS_OWED_KEY}` }];
  return [];
}

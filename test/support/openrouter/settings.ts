/** What a test may change while the server runs. */
export interface Settings {
  /** How long a new key is refused, in milliseconds. */
  readonly newKeysRefusedMs: number;
  /** How long a disabled or deleted key is still accepted, in milliseconds. */
  readonly goneKeysAcceptedMs: number;
  /** The limit that each new key gets, in USD or null for none; `as asked` gives what the request says. */
  readonly newKeyLimit: number | null | "as asked";
  /** Whether `GET /key` changes `last_used_at`, so that a test can use a key. */
  readonly checksCountAsUse: boolean;
  /** What a model call costs, in USD. */
  readonly chatUsd: number;
  /** Where the error of a model call says its type: as on /chat/completions, on /responses or on /messages. */
  readonly errorTypeIn: "metadata" | "body" | "error";
}

export const SETTINGS: Settings = {
  newKeysRefusedMs: 0,
  goneKeysAcceptedMs: 0,
  newKeyLimit: "as asked",
  checksCountAsUse: false,
  chatUsd: 0.01,
  errorTypeIn: "metadata",
};

/** The time of the server, in milliseconds since 1970. */
export interface MockClock {
  readonly now: () => number;
  /** The clock goes on from there. */
  readonly set: (time: number) => void;
  readonly advance: (ms: number) => void;
}

export function mockClock(base: () => number): MockClock {
  let offset = 0;
  const now = () => base() + offset;
  return {
    now,
    set: (time) => (offset += time - now()),
    advance: (ms) => (offset += ms),
  };
}

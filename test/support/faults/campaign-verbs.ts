import { keyEnding } from "../fixtures/keys.ts";
import type { Given } from "../recording/keyctl.ts";
import { oneOf } from "./chance.ts";

/** The commands of a campaign, for one of its users. */
export const VERBS = {
  sync: (user) => ({ args: ["sync", "--user", user] }),
  get: (user) => ({ args: ["get", "--user", user] }),
  provision: (user) => ({ args: ["provision", "--user", user] }),
  save: (user) => ({ args: ["save", "--user", user, "--stdin", "--replace"], input: savedKey() }),
  "save --revoke": (user) => ({
    args: ["save", "--user", user, "--stdin", "--replace", "--revoke"],
    input: savedKey(),
  }),
  purge: (user) => ({ args: ["purge", "--user", user, "--yes"] }),
  "purge --revoke": (user) => ({ args: ["purge", "--user", user, "--yes", "--revoke"] }),
  "purge --block": (user) => ({ args: ["purge", "--user", user, "--yes", "--block"] }),
  "purge --revoke --block": (user) => ({ args: ["purge", "--user", user, "--yes", "--revoke", "--block"] }),
  unblock: (user) => ({ args: ["unblock", "--user", user] }),
  rotate: (user) => ({ args: ["rotate", "--user", user] }),
  "rotate --grace 1s": (user) => ({ args: ["rotate", "--user", user, "--grace", "1s"] }),
  "rotate --grace 0": (user) => ({ args: ["rotate", "--user", user, "--grace", "0"] }),
  "rotate --limit full": (user) => ({ args: ["rotate", "--user", user, "--limit", "full", "--include-foreign"] }),
  finish: () => ({ args: ["rotate", "--finish"] }),
  renew: (user) => ({ args: ["renew", "--user", user] }),
  "renew --include-disabled": (user) => ({ args: ["renew", "--user", user, "--include-disabled"] }),
  exec: (user) => ({ args: ["exec", "--user", user, "--", ...HAS_KEY] }),
  "exec --renew": (user) => ({ args: ["exec", "--user", user, "--renew", "--", ...HAS_KEY] }),
  import: (user) => ({
    args: ["import", "--jsonl", "-"],
    input: JSON.stringify({ user, key: savedKey(), source: "old system" }),
  }),
  "leaked --hash": (_, leaks) => ({ args: ["leaked", ...leaks.slice(0, 1).flatMap(({ hash }) => ["--hash", hash])] }),
  "leaked --stdin": (_, leaks) => ({
    args: ["leaked", "--stdin"],
    input: leaks.map(({ hash, text }) => text ?? hash).join("\n"),
  }),
  "reconcile of one": (user) => ({ args: ["reconcile", "--fix", "--user", user] }),
  reconcile: () => ({ args: ["reconcile", "--fix"] }),
} as const satisfies Readonly<Record<string, (user: string, leaks: readonly Leak[]) => Given>>;

/** A key that leaked, and its text if that is known. */
export interface Leak {
  readonly hash: string;
  readonly text: string | undefined;
}

/** Ends with exit code 1, which only a bug has, if it gets no key. */
const HAS_KEY = ["sh", "-c", 'test -n "$OPENROUTER_API_KEY"'] as const;

export type Verb = keyof typeof VERBS;

/** The verbs that are safe on a store without atomic changes of a row. Most create a key, or make room for one. */
export const PLAIN_VERBS: readonly Verb[] = [
  ...(["sync", "sync", "sync", "sync", "sync", "get", "provision", "provision"] as const),
  ...(["purge", "purge", "purge", "purge --revoke", "purge --revoke", "purge --revoke", "exec", "import"] as const),
  ...(["reconcile of one", "reconcile"] as const),
];
/** A blocked user ends most commands early: there are more unblocks than blocks. */
export const BLOCKING_VERBS: readonly Verb[] = [
  ...(["purge --block", "purge --revoke --block", "unblock", "unblock", "unblock", "unblock", "unblock"] as const),
];
const ROTATING_VERBS: readonly Verb[] = [
  ...(["rotate", "rotate", "rotate --grace 1s", "rotate --grace 1s", "rotate --limit full"] as const),
  ...(["rotate --grace 0", "finish", "finish"] as const),
];
/** Where these run, keys die by a person's hand. */
export const RENEWING_VERBS: readonly Verb[] = [
  ...(["renew", "renew", "renew", "renew", "renew", "renew"] as const),
  ...(["renew --include-disabled", "renew --include-disabled", "renew --include-disabled"] as const),
  ...(["exec --renew", "exec --renew", "leaked --hash", "leaked --hash", "leaked --stdin", "leaked --stdin"] as const),
];
export const ALL_VERBS: readonly Verb[] = [
  ...PLAIN_VERBS,
  ...ROTATING_VERBS,
  ...RENEWING_VERBS,
  ...(["save", "save --revoke"] as const),
];

export function savedKey(): string {
  return keyEnding(oneOf(["91aa", "47c0"]));
}

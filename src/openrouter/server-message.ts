import { withoutKeys } from "../core/key-like.ts";
import { printable } from "../core/printable.ts";

const LONGEST = 200;
/** Ids of users, organisations, workspaces and keys, and tokens of any kind: no word is that long, and no id much shorter. */
const ID_LIKE = /\b(?:user|org|usr|req|gen)_[A-Za-z0-9]+|[A-Za-z0-9_~+/=-]{20,}/g;

/**
 * A server's own words, fit for a terminal and a log: on one line, with nothing that moves a cursor, hides or reorders text, and
 * without keys and ids, above all the one that was sent.
 */
export function serverMessage(text: string, token: string | null): string {
  const withoutToken = token === null ? text : text.replaceAll(token, "…");
  const clean = withoutKeys(withoutToken).replace(ID_LIKE, "…").replaceAll(/\s+/g, " ").trim();
  const short = clean.length > LONGEST ? `${clean.slice(0, LONGEST)}…` : clean;
  return printable(short);
}

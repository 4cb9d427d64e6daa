/** The path of an embedded store, or the problem, which completes a sentence that begins with the flag or variable. */
export type SqlitePath = { readonly path: string } | { readonly problem: string; readonly instead: string };

const ANY = "name an embedded store, sqlite:<path>, or mongodb://<host>/<database>";
const EXAMPLES = "sqlite:<path>, such as sqlite:keys.db, sqlite:~/keys.db or sqlite:/srv/keys.db";

/** Forms that other programs accept for SQLite, and that would become a wrong file or folder name here. */
const MISTAKES: readonly (readonly [mistake: RegExp, problem: string, instead?: string])[] = [
  [/^(?:sqlite:)?(?:\/\/)?\/?:memory:/, "names no file: keys in memory are gone with the process"],
  [/^(?:sqlite:(?:\/\/)?)?file:/i, "has file: before its path", "leave file: out: sqlite:<path>"],
  [/^sqlite:.*\?[A-Za-z_]+=/s, "has options behind its path", "leave them out: sqlite:<path>"],
  [/^sqlite:(?:\/\/\/?)?~(?![/\\]|$).*[/\\]/s, "names another user's home folder by ~", "write that path in full"],
  [/^sqlite:\/\/\/?~/, "has // before its path", "leave // out: sqlite:~/<path>"],
  [/^sqlite:\/\/(?!\/)/, "has // before a path that is not from the root", EXAMPLES],
  // Three slashes before a name mean ./keys.db to SQLAlchemy, and /keys.db to others.
  [
    /^sqlite:\/\/\/[^/]*$/,
    "can be read in two ways",
    "sqlite:<name> in the working folder, or sqlite:/<name> in the root",
  ],
  [/^sqlite:.*(?:\$\{|\$\(|\{\{)|^sqlite:(?:\/\/\/?)?(?:\$\w|%\w+%)/s, "holds an unresolved variable"],
];

/** `sqlite:<path>`, and `sqlite:///<path>` for a path from the root. */
export function sqlitePath(uri: string): SqlitePath {
  const mistake = MISTAKES.find(([pattern]) => pattern.test(uri));
  if (mistake !== undefined) return { problem: mistake[1], instead: mistake[2] ?? EXAMPLES };
  const path = uri.startsWith("sqlite:") ? uri.slice("sqlite:".length) : "";
  if (path === "" || path.includes("\0") || path.includes("://")) {
    return { problem: "is not a store that keyctl knows", instead: ANY };
  }
  return { path: path.replace(/^\/\/(?=\/)/, "") };
}

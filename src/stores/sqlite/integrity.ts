import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { isKeyctlError } from "../../core/model/errors.ts";
import type { KeyctlError } from "../../core/model/errors.ts";
import type { Integrity } from "../../core/ports/stores-and-sources.ts";
import { dropInFiles } from "./database.ts";
import { damaged, openStoreError } from "./errors.ts";
import { whileUnlocked } from "./retry-locked.ts";

/** The check of a file of this size takes 0.1 s. */
const SMALL_BYTES = 16 * 1024 * 1024;
const LONGEST_FINDING = 160;

interface CheckedDatabase {
  readonly database: DatabaseSync;
  readonly path: string;
  /** What another process opens; by default, the path. */
  readonly location?: string;
}

/** The result of a check: SQLite's sentence, or its error. */
type Answer = { readonly said: string } | { readonly thrown: unknown };

/**
 * As `Inspection.checkIntegrity`. SQLite's check cannot be cancelled, and no signal is handled while it runs: a file
 * that is not small is checked in a process of its own, which is killed when the signal is aborted.
 * @param smallBytes the size in bytes up to which the check runs in this process
 */
export async function checkIntegrity(
  { database, path, location = path }: CheckedDatabase,
  deep: boolean,
  signal: AbortSignal,
  smallBytes = SMALL_BYTES,
): Promise<Integrity> {
  const check = deep ? "integrity_check" : "quick_check";
  const sql = `PRAGMA ${check}(1)`;
  const isSmall = statSync(path).size <= smallBytes;
  const elsewhere = isSmall ? undefined : await askElsewhere(location, sql, signal);
  return { check, damage: damageIn(elsewhere ?? (await askHere(database, sql, signal)), path) };
}

/** The damage, or null. Throws an error that is no damage. */
function damageIn(answer: Answer, path: string): KeyctlError | null {
  if ("thrown" in answer) {
    const error = openStoreError(answer.thrown, path);
    if (isKeyctlError(error) && error.code === "STORE_CORRUPT") return error;
    throw error;
  }
  if (answer.said === "ok") return null;
  // The finding follows a headline that names the database.
  const finding = answer.said.split("\n").find((line) => !line.startsWith("***"));
  return damaged(path, (finding ?? answer.said).slice(0, LONGEST_FINDING));
}

async function askHere(database: DatabaseSync, sql: string, signal: AbortSignal): Promise<Answer> {
  try {
    const row = await whileUnlocked(() => database.prepare(sql).get(), signal);
    return { said: String(Object.values(row ?? {})[0]) };
  } catch (thrown) {
    signal.throwIfAborted();
    return { thrown };
  }
}

/** Opens the database read-only, and waits for locks until it is killed. */
const PROGRAM = `
const [dropIns, path, sql] = process.argv.slice(1);
const loaded = (file) => {
  const module = { exports: {} };
  try { process.dlopen(module, file); return module.exports; } catch { return undefined; }
};
const dropIn = () => JSON.parse(dropIns).map(loaded).find((sqlite) => sqlite !== undefined);
let answer;
try {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite") ?? dropIn();
  const database = new DatabaseSync(path, { readOnly: true });
  database.exec("PRAGMA busy_timeout=2147483647");
  answer = { said: String(Object.values(database.prepare(sql).get())[0]) };
  database.close();
} catch (thrown) {
  const { message, code, errcode } = thrown;
  answer = { message, code, errcode };
}
process.stdout.write(JSON.stringify(answer));
`;

/** Undefined if no process can be started. */
async function askElsewhere(location: string, sql: string, signal: AbortSignal): Promise<Answer | undefined> {
  const words = ["--no-warnings", "--eval", PROGRAM, "--", JSON.stringify(dropInFiles()), location, sql];
  const output = await new Promise<string>((resolve) => {
    const options = { env: {}, signal, killSignal: "SIGKILL" } as const;
    execFile(process.execPath, words, options, (_, stdout) => resolve(stdout));
  });
  signal.throwIfAborted();
  if (output === "") return undefined;
  const { said, message, ...codes } = JSON.parse(output) as Record<string, unknown>;
  if (typeof said === "string") return { said };
  return { thrown: Object.assign(new Error(String(message)), codes) };
}

import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import { openStoreError } from "./errors.ts";
import type { DatabaseFile } from "./file.ts";
import { whileUnlocked } from "./retry-locked.ts";

export type Row = Readonly<Record<string, SQLOutputValue>>;
type Values = readonly SQLInputValue[];

/** The statements of a database, by name. Each is prepared on first use and runs once no other process has the lock. */
export interface SqliteStatements<Name extends string> {
  /** Runs one change, a statement or a transaction; again from its start while another process has the lock. */
  readonly write: <Result>(work: () => Result, signal: AbortSignal) => Promise<Result>;
  readonly prepared: (name: Name) => StatementSync;
  readonly one: (name: Name, values: Values, signal: AbortSignal) => Promise<Row | undefined>;
  readonly all: (name: Name, values: Values, signal: AbortSignal) => Promise<readonly Row[]>;
  /** Whether the statement changed one row. */
  readonly changes: (name: Name, values: Values, signal: AbortSignal) => Promise<boolean>;
  /** Drops the statements: on Node 20 the file stays open until they are garbage-collected. */
  readonly forget: () => void;
}

export function sqliteStatements<Name extends string>(
  database: DatabaseSync,
  file: DatabaseFile,
  sql: Readonly<Record<Name, string>>,
): SqliteStatements<Name> {
  const { path } = file;
  const known = new Map<Name, StatementSync>();
  const prepared = (name: Name): StatementSync => {
    const statement = known.get(name) ?? database.prepare(sql[name]);
    known.set(name, statement);
    return statement;
  };
  const act = async <Result>(work: () => Result, signal: AbortSignal, isWrite: boolean): Promise<Result> => {
    try {
      return await whileUnlocked(work, signal);
    } catch (thrown) {
      throw openStoreError(thrown, path, isWrite);
    }
  };
  const read = <Result>(work: () => Result, signal: AbortSignal) =>
    act(
      () => {
        file.requireSame();
        const result = work();
        file.afterRead();
        return result;
      },
      signal,
      false,
    );
  const write = <Result>(work: () => Result, signal: AbortSignal) =>
    act(
      () => {
        file.beforeWrite();
        const result = work();
        file.afterWrite();
        return result;
      },
      signal,
      true,
    );
  return {
    write,
    prepared,
    one: (name, values, signal) => read(() => prepared(name).get(...values), signal),
    all: (name, values, signal) => read(() => prepared(name).all(...values), signal),
    changes: (name, values, signal) => write(() => prepared(name).run(...values).changes === 1, signal),
    forget: () => known.clear(),
  };
}

import { compose, readConfig } from "../../../src/compose.ts";
import { silent } from "../../../src/core/model/log-event.ts";
import type { Log } from "../../../src/core/model/log-event.ts";
import type { KeyManager } from "../../../src/core/manager/manager.ts";
import { programManager } from "../../../src/library/program-manager.ts";
import type { Home } from "../home/home.ts";

const HERE = process.cwd();

/**
 * Uses the library as a server does, from the sources and with this home's environment. Only one at a time, because it
 * sets the working directory.
 */
export async function asLibrary<Result>(
  home: Home,
  environment: Readonly<Record<string, string>>,
  work: (manager: KeyManager) => Promise<Result>,
  log: Log = silent,
): Promise<Result> {
  process.chdir(home.work);
  try {
    const config = readConfig({ ...home.environment, ...environment });
    const notices = { generated: () => {}, added: () => {}, readableByOthers: () => {}, guessable: () => {} };
    const store = { mayCreateStore: true, creates: config.createStore, creation: "" };
    const options = { ...store, detaches: true, signal: AbortSignal.timeout(20_000) };
    const { manager } = await compose(config, { log, notices }, options);
    try {
      return await work(programManager(manager));
    } finally {
      await manager.close();
    }
  } finally {
    process.chdir(HERE);
  }
}

import { onTestFinished } from "vitest";
import { compose, readConfig } from "../../../src/compose.ts";
import type { ComposeOptions } from "../../../src/compose.ts";
import { silent } from "../../../src/core/model/log-event.ts";
import type { KeyManager } from "../../../src/core/manager.ts";
import type { Home } from "../home/home.ts";

const notices = { generated: () => {}, added: () => {}, readableByOthers: () => {}, guessable: () => {} };

/** A manager on the store of this home, in this process, as the library opens it. */
export async function openManager(
  { work, environment }: Home,
  env: NodeJS.ProcessEnv = {},
  around?: ComposeOptions["around"],
): Promise<KeyManager> {
  // As the tool finds it in its working folder: nobody has named it.
  const keyFile = { path: `${work}/key.txt`, named: false };
  const config = { ...readConfig({ ...environment, ...env }), keyFile };
  const options = { mayCreateStore: true, creates: config.createStore, creation: "", around };
  const { manager } = await compose(
    config,
    { log: silent, notices },
    { ...options, signal: AbortSignal.timeout(20_000) },
  );
  return manager;
}

/** The same, for the length of the test that calls this. */
export async function managerOfTest(...given: Parameters<typeof openManager>): Promise<KeyManager> {
  const manager = await openManager(...given);
  onTestFinished(() => manager.close());
  return manager;
}

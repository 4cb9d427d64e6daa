import { onTestFinished } from "vitest";
import { compose, readConfig } from "../../../src/compose.ts";
import type { ComposeOptions } from "../../../src/compose.ts";
import { silent } from "../../../src/core/model/log-event.ts";
import type { KeyManager } from "../../../src/core/manager/manager.ts";
import type { Home } from "../home/home.ts";

const notices = { generated: () => {}, added: () => {}, readableByOthers: () => {}, guessable: () => {} };

/** Opens a manager on the store of this home, in this process, like the library. */
export async function openManager(
  { work, environment }: Home,
  env: NodeJS.ProcessEnv = {},
  around?: ComposeOptions["around"],
): Promise<KeyManager> {
  // Like the tool, which finds key.txt in its working directory without a setting that names it.
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

/** The same; the manager is closed when the calling test ends. */
export async function managerOfTest(...given: Parameters<typeof openManager>): Promise<KeyManager> {
  const manager = await openManager(...given);
  onTestFinished(() => manager.close());
  return manager;
}

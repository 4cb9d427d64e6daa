import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";

/** An empty home for one test, without this machine's configuration. It is removed when the test ends. */
export interface Home {
  readonly folder: string;
  /** The working directory, where keyctl looks for key.txt. */
  readonly work: string;
  readonly database: string;
  readonly masterKeys: string;
  readonly environment: NodeJS.ProcessEnv;
  writeKeyFile(content: string | Uint8Array): void;
}

export function emptyHome(): Home {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const work = join(folder, "work");
  mkdirSync(work);
  return {
    folder,
    work,
    database: join(folder, "data", "keyctl", "keyctl.db"),
    masterKeys: join(folder, "config", "keyctl", "master-keys.json"),
    environment: {
      PATH: process.env["PATH"],
      HOME: folder,
      XDG_DATA_HOME: join(folder, "data"),
      XDG_CONFIG_HOME: join(folder, "config"),
      XDG_STATE_HOME: join(folder, "state"),
      KEYCTL_OPENROUTER_URL: inject("openRouterUrl"),
    },
    writeKeyFile: (content) => writeFileSync(join(work, "key.txt"), content, { mode: 0o600 }),
  };
}

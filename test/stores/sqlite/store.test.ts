import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { historyContract } from "../../contract/history.ts";
import { journalContract } from "../../contract/journal.ts";
import { keyStoreContract } from "../../contract/key-store.ts";
import { openStore } from "../../support/sqlite/sqlite.ts";

const emptyPlace = async () => {
  const folder = await mkdtemp(join(tmpdir(), "keyctl-store-"));
  return {
    connect: () => openStore(join(folder, "keys.db")),
    remove: () => rm(folder, { recursive: true }),
  };
};

keyStoreContract("SQLite", emptyPlace);
journalContract("SQLite", emptyPlace);
historyContract("SQLite", emptyPlace);

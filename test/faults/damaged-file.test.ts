import { describe, expect, it } from "vitest";
import { damagedDatabase, PART_OF_A_PAGE, WHOLE_PAGE } from "../support/sqlite/damaged-database.ts";
import type { Outcome } from "../support/sqlite/damaged-database.ts";

/**
 * The accepted outcomes. Damage within a row or within a master key's check has its own error, unlike a damaged file.
 */
const SAID: ReadonlySet<Outcome> = new Set([
  "right",
  "STORE_CORRUPT",
  "ROW_UNREADABLE",
  "MASTER_KEY_WRONG",
  "MASTER_KEY_MISSING",
]);

describe("a database of which one page is lost", () => {
  it.each(Object.entries(WHOLE_PAGE))(
    "gives what it holds or says that it is damaged, whichever page it is: %s",
    { timeout: 1_800_000 },
    async (_, damage) => {
      const database = await damagedDatabase(150);
      const strange: string[] = [];
      for (let page = 0; page < database.pages; page += 1) {
        database.damage(damage, page);
        const outcomes = {
          "get of all": await database.getAll(),
          list: await database.list(),
          get: await database.get(page),
          sync: await database.sync(page * 7),
        };
        for (const [command, outcome] of Object.entries(outcomes)) {
          if (outcome !== "right" && outcome !== "STORE_CORRUPT") strange.push(`page ${page}, ${command}: ${outcome}`);
        }
        const { code, isSound } = await database.doctor(false);
        if (!isSound && code !== "STORE_CORRUPT") strange.push(`page ${page}, doctor: ${code}`);
      }
      expect(strange).toEqual([]);
    },
  );
});

describe("a database of which a part of one page is lost", () => {
  it.each(Object.entries(PART_OF_A_PAGE))(
    "gives no wrong key and pays for none, whichever page it is: %s",
    { timeout: 1_800_000 },
    async (_, damage) => {
      const database = await damagedDatabase(150);
      const strange: string[] = [];
      for (let page = 0; page < database.pages; page += 1) {
        database.damage(damage, page);
        const check = (command: string, outcome: Outcome, more: readonly Outcome[] = []) => {
          // Of several users, one may be unreadable and another one missing.
          const isSaid = outcome.split(", ").every((one) => SAID.has(one) || more.includes(one));
          if (!isSaid) strange.push(`page ${page}, ${command}: ${outcome}`);
        };
        // A user whose row SQLite does not find has no key, which costs nothing here.
        check("get of all", await database.getAll(), ["NO_KEY"]);
        for (const user of [page, page * 7 + 3, 149 - (page % 30)]) {
          check("get", await database.get(user), ["NO_KEY"]);
          check("sync", await database.sync(user));
        }
        const { code, isSound } = await database.doctor(true);
        if (!isSound && code !== "STORE_CORRUPT") strange.push(`page ${page}, doctor: ${code}`);
      }
      expect(strange).toEqual([]);
    },
  );
});

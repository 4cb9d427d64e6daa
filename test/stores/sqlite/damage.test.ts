import { describe, expect, it } from "vitest";
import { damagedDatabase, PART_OF_A_PAGE, WHOLE_PAGE } from "../../support/sqlite/damaged-database.ts";
import type { Outcome } from "../../support/sqlite/damaged-database.ts";

describe("a database of which one page is lost", () => {
  // test/faults/damaged-file.test.ts has the other kinds.
  it.each(["zeroes", "the end of the file"])(
    "gives what it holds or says that it is damaged, whichever page it is, and pays for nothing: %s",
    async (kind) => {
      const damage = WHOLE_PAGE[kind] ?? ((bytes) => bytes);
      const database = await damagedDatabase(40);
      expect(database.pages).toBeGreaterThan(15);
      const outcomes: (readonly [where: string, outcome: Outcome])[] = [];
      for (let page = 0; page < database.pages; page += 1) {
        database.damage(damage, page);
        outcomes.push([`page ${page}, get of all`, await database.getAll()]);
        outcomes.push([`page ${page}, list`, await database.list()]);
        outcomes.push([`page ${page}, get`, await database.get(page)]);
        outcomes.push([`page ${page}, sync`, await database.sync(page * 7)]);
      }
      expect(outcomes.filter(([, outcome]) => outcome !== "right" && outcome !== "STORE_CORRUPT")).toEqual([]);
      expect(outcomes.filter(([, outcome]) => outcome === "STORE_CORRUPT").length).toBeGreaterThan(database.pages);
    },
  );

  it("is what doctor sees, whichever page it is", async () => {
    const database = await damagedDatabase(40);
    for (let page = 0; page < database.pages; page += 1) {
      database.damage(WHOLE_PAGE["zeroes"] ?? ((bytes) => bytes), page);
      expect([page, await database.doctor(false)]).toEqual([page, { code: "STORE_CORRUPT", isSound: false }]);
    }
  });
});

describe("an index that has lost what its table holds", () => {
  it("makes no key for a user who has one, though SQLite itself does not see them", async () => {
    const database = await damagedDatabase(100);
    const outcomes = new Map<Outcome, number>();
    let unseen = 0;
    for (let page = 0; page < database.pages; page += 1) {
      database.damage(PART_OF_A_PAGE["zeroes in its second half"] ?? ((bytes) => bytes), page);
      for (const user of [0, 33]) {
        if ((await database.get(user)) === "NO_KEY") unseen += 1;
        const outcome = await database.sync(user);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
    }
    // Where only the text of the key is zeroed, the row is there and cannot be read.
    expect([...outcomes.keys()].toSorted()).toEqual(["ROW_UNREADABLE", "STORE_CORRUPT", "right"]);
    expect(unseen).toBeGreaterThan(0);
  });
});

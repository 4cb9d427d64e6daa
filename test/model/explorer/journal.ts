import type { Access, Result } from "../accesses.ts";
import { liveOperations, savedHash, withNumber, withRecord } from "./world.ts";
import type { World } from "./world.ts";

interface Change {
  readonly world: World;
  readonly result: Result;
}

/**
 * The journal is insert-only with one winner for each id, and an existing record never changes. So a lost answer needs
 * no fault of its own: an actor that reads the record afterwards, and inserts it again if it is missing, was merely
 * slow.
 */
export function journalEffects(access: Access, world: World): readonly Change[] {
  switch (access.access) {
    case "journal.last op":
      return [{ world, result: world.operations }];
    case "journal.read out":
      return [{ world, result: world.outcomes[access.generation] ?? null }];
    case "journal.read rev":
      return [{ world, result: world.retirements[access.generation] ?? null }];
    case "journal.read del":
      return [{ world, result: world.owedAfterAll.includes(access.generation) ? "stands" : null }];
    case "journal.read due":
      return [{ world, result: world.due.includes(access.generation) ? "stands" : null }];
    case "journal.live operations":
      return [{ world, result: liveOperations(world) }];
    case "journal.insert op": {
      if (world.operations + 1 !== access.generation) return [{ world, result: "lost" }];
      const deliberate = access.deliberate ? [...world.deliberate, access.generation] : world.deliberate;
      return [{ world: { ...world, operations: access.generation, deliberate }, result: "won" }];
    }
    case "journal.insert out": {
      const outcome = world.outcomes[access.generation] ?? access.outcome;
      return [
        { world: { ...world, outcomes: withRecord(world.outcomes, access.generation, outcome) }, result: outcome },
      ];
    }
    case "journal.insert rev": {
      const retirement = world.retirements[access.generation] ?? access.retirement;
      const retirements = withRecord(world.retirements, access.generation, retirement);
      return [{ world: { ...world, retirements }, result: retirement }];
    }
    case "journal.insert del":
      return [
        { world: { ...world, owedAfterAll: withNumber(world.owedAfterAll, access.generation) }, result: "stands" },
      ];
    case "journal.insert due":
      return [{ world: { ...world, due: withNumber(world.due, access.generation) }, result: "stands" }];
    case "journal.insert block":
      return [{ world: { ...world, blockRecorded: true }, result: "stands" }];
    case "journal.read block":
      return [{ world, result: world.blockRecorded ? "stands" : null }];
    case "journal.holding":
      return [
        {
          world,
          result: world.outcomes.flatMap((outcome, generation) => {
            const hash = savedHash(outcome);
            return hash !== null && access.hashes.includes(hash) ? [{ hash, generation }] : [];
          }),
        },
      ];
    case "journal.records": {
      const { operations, outcomes, retirements, owedAfterAll, due, over } = world;
      const dues = due.map((generation) => ({ generation, isOver: over.includes(generation) }));
      return [{ world, result: { operations, outcomes, retirements, owedAfterAll, dues } }];
    }
    case "journal.due":
      return [{ world, result: world.due.filter((generation) => world.over.includes(generation)) }];
    default:
      throw new Error(`the model of the world does not know ${access.access}`);
  }
}

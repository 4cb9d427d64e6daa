import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KeyManager } from "../../../src/core/manager/manager.ts";
import type { HistoryEvent, HistoryEventName } from "../../../src/core/model/history-event.ts";
import { hashOf, keyEnding } from "../../support/fixtures/keys.ts";
import { historyOf, written } from "../../support/home/history.ts";
import { emptyHome } from "../../support/home/home.ts";
import { stage } from "../../support/home/tool-with-openrouter.ts";
import type { Stage } from "../../support/home/tool-with-openrouter.ts";
import { openManager } from "../../support/memory/manager.ts";
import { endGraces } from "../../support/openrouter/made-keys.ts";
import { change } from "../../support/sqlite/database-file.ts";

/** What a command must leave behind: the event, and the generation or the key that it is about. */
type Expected = readonly [event: HistoryEventName, about: number | string | null];

/** A user as the commands left it. A key is the number of a key that keyctl created, or the text of another one. */
interface UserState {
  key: number | string | null;
  isBlocked: boolean;
  created: number;
  /** Keys that keyctl created, that are in no row, and that OpenRouter still has. */
  readonly kept: Set<number>;
  /** Those of them that are in their grace. */
  readonly retiring: Set<number>;
}

interface Command {
  readonly name: string;
  readonly run: (manager: KeyManager, user: string, stage: Stage) => Promise<unknown>;
  /** What it must leave behind; changes the state. */
  readonly expected: (state: UserState) => readonly Expected[];
}

const [K1, K2] = [keyEnding("0001"), keyEnding("0002")];
const NOTHING: readonly Expected[] = [];

function revoked(numbers: Iterable<number>, state: UserState): readonly Expected[] {
  const all = [...numbers];
  for (const n of all) {
    state.kept.delete(n);
    state.retiring.delete(n);
  }
  return all.map((n) => ["revoked", n] as const);
}

function creation(state: UserState): readonly Expected[] {
  if (state.isBlocked || state.key !== null) return NOTHING;
  state.created += 1;
  state.key = state.created;
  return [["created", state.created]];
}

function save(text: string, revoke: boolean): Command {
  return {
    name: `save …${text.slice(-4)}${revoke ? " --revoke" : ""}`,
    run: (manager, user) => manager.save(user, text, { replace: "any", revoke }),
    expected(state) {
      const before = state.key;
      if (state.isBlocked || before === text) return NOTHING;
      state.key = text;
      if (before === null) return [["saved", text]];
      if (typeof before === "number") state.kept.add(before);
      return [["replaced", text], ...(revoke && typeof before === "number" ? revoked([before], state) : [])];
    },
  };
}

function purge(revoke: boolean, block: boolean): Command {
  return {
    name: `purge${revoke ? " --revoke" : ""}${block ? " --block" : ""}`,
    run: (manager, user) => manager.purge(user, { revoke: revoke ? "ours" : "no", block }),
    expected(state) {
      const { key } = state;
      // A key that keyctl did not create is refused before anything is changed.
      if (revoke && typeof key === "string") return NOTHING;
      const blocked: readonly Expected[] = block && !state.isBlocked ? [["blocked", key]] : [];
      const purged: readonly Expected[] = key === null ? [] : [["purged", key]];
      state.key = null;
      state.isBlocked ||= block;
      if (typeof key === "number") state.kept.add(key);
      return [...purged, ...blocked, ...(revoke ? revoked(state.kept, state) : [])];
    },
  };
}

function rotate(graceMs: number): Command {
  return {
    name: `rotate --grace ${graceMs}`,
    run: (manager, user) => manager.rotate(user, { graceMs }),
    expected(state) {
      const before = state.key;
      if (typeof before !== "number") return NOTHING;
      state.created += 1;
      state.key = state.created;
      state.kept.add(before);
      if (graceMs > 0) state.retiring.add(before);
      const ended = graceMs > 0 ? [] : revoked([before, ...state.retiring], state);
      return [["rotated", state.created], ...ended];
    },
  };
}

/** The key of a row was deleted at OpenRouter, long after it was stored. */
const RENEWAL: Command = {
  name: "renew of a key that was deleted",
  async run(manager, user, { home, server }) {
    const { keyHash } = await manager.getStoredKey(user);
    if (keyHash !== null) server.removeKey(keyHash);
    change(home.database, "UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'");
    await manager.renew(user);
  },
  expected(state) {
    const before = state.key;
    if (before === null) return NOTHING;
    state.created += 1;
    state.key = state.created;
    if (typeof before === "number") state.kept.add(before);
    // Keys in their grace are left to their own time.
    const ended = typeof before === "number" ? [before] : [];
    return [["renewed", state.created], ...revoked(ended, state)];
  },
};

const LEAK: Command = {
  name: "leaked",
  async run(manager, user) {
    const { keyHash } = await manager.getStoredKey(user);
    if (keyHash !== null) await manager.leaked(keyHash);
  },
  // OpenRouter does not know another key.
  expected: (state) => rotate(0).expected(state),
};

const IMPORT: Command = {
  name: "import",
  async run(manager, user) {
    async function* entries() {
      yield [{ userId: user, key: K1 }];
    }
    for await (const _ of manager.importKeys(entries()));
  },
  expected(state) {
    if (state.isBlocked || state.key !== null) return NOTHING;
    state.key = K1;
    return [["imported", K1]];
  },
};

const COMMANDS: readonly Command[] = [
  { name: "sync", run: (manager, user) => manager.syncAndGetKey(user), expected: creation },
  { name: "provision", run: (manager, user) => manager.autoProvisionKey(user), expected: creation },
  save(K1, false),
  save(K2, false),
  save(K2, true),
  purge(false, false),
  purge(true, false),
  purge(false, true),
  purge(true, true),
  {
    name: "unblock",
    run: (manager, user) => manager.unblock(user),
    expected(state) {
      const wasBlocked = state.isBlocked;
      state.isBlocked = false;
      return wasBlocked ? [["unblocked", null]] : NOTHING;
    },
  },
  rotate(0),
  rotate(600_000),
  RENEWAL,
  LEAK,
  IMPORT,
  { name: "get", run: (manager, user) => manager.getStoredKey(user), expected: () => NOTHING },
  { name: "validate", run: (manager, user) => manager.validate(user), expected: () => NOTHING },
];

type OfUser = readonly [user: string, ...Expected];

/** Without the order of the deletions of one command. */
function inOrder(events: readonly OfUser[]): readonly OfUser[] {
  const isRevoked = ([, event]: OfUser) => event === "revoked";
  const deletions = events.filter(isRevoked).toSorted((one, other) => (String(one) < String(other) ? -1 : 1));
  return [...events.filter((event) => !isRevoked(event)), ...deletions];
}

function aboutOf({ event, generation, keyHash }: HistoryEvent): Expected {
  if (generation !== null) return [event, generation];
  return [event, [K1, K2].find((text) => hashOf(text) === keyHash) ?? null];
}

const newUser = (): UserState => ({ key: null, isBlocked: false, created: 0, kept: new Set(), retiring: new Set() });
const FINISH = "finish what is due";

describe("any sequence of commands", () => {
  it("leaves exactly the events of what it changed, in order", { timeout: 300_000 }, async () => {
    const steps = fc.array(
      fc.tuple(
        fc.constantFrom("alice", "bob"),
        fc.oneof({ weight: 17, arbitrary: fc.constantFrom(...COMMANDS) }, {
          weight: 1,
          arbitrary: fc.constant(FINISH),
        } as const),
      ),
      { minLength: 8, maxLength: 16 },
    );
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const all = await stage({}, emptyHome());
        const { home, env } = all;
        const manager = await openManager(home, env);
        const users: Readonly<Record<string, UserState>> = { alice: newUser(), bob: newUser() };
        let known = 0;
        try {
          for (const [user, command] of sequence) {
            const expected = await performed(command, user);
            await written(manager);
            const events = await historyOf(home);
            const told = events.slice(known).map((event): OfUser => [event.userId, ...aboutOf(event)]);
            known = events.length;
            const what = typeof command === "string" ? command : `${command.name} ${user}`;
            expect(inOrder(told), what).toEqual(inOrder(expected));
          }
        } finally {
          await manager.close();
        }

        async function performed(command: Command | typeof FINISH, user: string): Promise<readonly OfUser[]> {
          const state = users[user] ?? newUser();
          if (typeof command !== "string") {
            await command.run(manager, user, all);
            return command.expected(state).map((expected): OfUser => [user, ...expected]);
          }
          endGraces(home);
          for await (const { error } of manager.finishDue()) expect(error).toBeNull();
          return Object.entries(users).flatMap(([name, of]) =>
            revoked(of.retiring, of).map((expected): OfUser => [name, ...expected]),
          );
        }
      }),
      { numRuns: 14 },
    );
  });
});

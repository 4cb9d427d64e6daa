import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { isKeyctlError } from "../../../src/core/model/errors.ts";
import type { KeyCheckValue, Sealer } from "../../../src/core/ports/stores-and-sources.ts";
import { assertCanSeal, loadVerifiedSealer } from "../../../src/core/sealing/verify-master-keys.ts";
import type { SealingSetup } from "../../../src/core/sealing/verify-master-keys.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";

const never = new AbortController().signal;
const newSealer = () => createSealer(masterKey(randomBytes(32)));

/** What all processes share: the check records of a store and the default file of master keys. */
class World {
  checks: readonly KeyCheckValue[] = [];
  file: Sealer | undefined;
  /** What was asked for, in order. */
  readonly calls: string[] = [];

  /** One process; `before` is awaited ahead of each of its calls. */
  process(before: (call: string) => unknown = () => {}): Omit<SealingSetup, "mayGenerate"> {
    const call = async (name: string) => {
      await before(name);
      this.calls.push(name);
    };
    return {
      pause: () => Promise.reject(new Error("nothing is retired here")),
      checks: {
        keyCheckValues: async () => {
          await call("keyCheckValues");
          return this.checks;
        },
        insertFirstKeyCheckValue: async (check) => {
          await call("insertFirstKeyCheckValue");
          if (this.checks.length > 0) return false;
          this.checks = [check];
          return true;
        },
        addKeyCheckValue: () => Promise.reject(new Error("nothing is rekeyed here")),
        removeKeyCheckValue: () => Promise.reject(new Error("nothing is rekeyed here")),
      },
      masterKeys: {
        place: "master-keys.json",
        addActive: () => Promise.reject(new Error("nothing is rekeyed here")),
        remove: () => Promise.reject(new Error("nothing is rekeyed here")),
        assertRemovable() {},
        load: async () => {
          await call("load");
          return this.file;
        },
        generate: async () => {
          await call("generate");
          this.file ??= newSealer();
          return this.file;
        },
      },
    };
  }
}

function sealedWith(sealer: Sealer, file: Sealer | undefined): World {
  const world = new World();
  world.checks = [sealer.newSealCheck()];
  world.file = file;
  return world;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (thrown) {
    if (isKeyctlError(thrown)) return thrown.code;
    throw thrown;
  }
  return "no error";
}

const PURPOSES = ["seal", "open"] as const;

describe("a store with a check record", () => {
  it.each(PURPOSES)("is unlocked with the master key that it names, to %s", async (purpose) => {
    const sealer = newSealer();
    const world = sealedWith(sealer, sealer);
    expect(await loadVerifiedSealer({ ...world.process(), mayGenerate: true }, purpose, never)).toBe(sealer);
    expect(world.calls).toStrictEqual(["keyCheckValues", "load"]);
  });

  it.each(PURPOSES)("is unlocked with a set in which that key is not the active one, to %s", async (purpose) => {
    const [old, active] = [masterKey(randomBytes(32)), masterKey(randomBytes(32))];
    const world = sealedWith(createSealer(old), createSealer(active, [old]));
    expect(await loadVerifiedSealer({ ...world.process(), mayGenerate: true }, purpose, never)).toBe(world.file);
  });

  it.each(PURPOSES)("is unlocked when one of several check records opens, to %s", async (purpose) => {
    const sealer = newSealer();
    const world = sealedWith(newSealer(), sealer);
    world.checks = [...world.checks, sealer.newSealCheck()];
    expect(await loadVerifiedSealer({ ...world.process(), mayGenerate: true }, purpose, never)).toBe(sealer);
  });

  it.each(PURPOSES.flatMap((purpose) => [true, false].map((mayGenerate) => ({ purpose, mayGenerate }))))(
    "is MASTER_KEY_WRONG with another key, and nothing is made or written: $purpose, may generate: $mayGenerate",
    async ({ purpose, mayGenerate }) => {
      const world = sealedWith(newSealer(), newSealer());
      expect(await codeOf(loadVerifiedSealer({ ...world.process(), mayGenerate }, purpose, never))).toBe(
        "MASTER_KEY_WRONG",
      );
      expect(world.calls).toStrictEqual(["keyCheckValues", "load"]);
    },
  );

  it.each(PURPOSES.flatMap((purpose) => [true, false].map((mayGenerate) => ({ purpose, mayGenerate }))))(
    "is MASTER_KEY_MISSING without a key, and none is made: $purpose, may generate: $mayGenerate",
    async ({ purpose, mayGenerate }) => {
      const world = sealedWith(newSealer(), undefined);
      expect(await codeOf(loadVerifiedSealer({ ...world.process(), mayGenerate }, purpose, never))).toBe(
        "MASTER_KEY_MISSING",
      );
      expect(world.calls).toStrictEqual(["keyCheckValues", "load"]);
    },
  );

  it.each(["", "not a JWE", "eyJ.a.b.c.d"])("is MASTER_KEY_WRONG when its check record is %j", async (value) => {
    const sealer = newSealer();
    const world = sealedWith(sealer, sealer);
    world.checks = world.checks.map(({ kid }) => ({ kid, value }));
    expect(await codeOf(loadVerifiedSealer({ ...world.process(), mayGenerate: true }, "open", never))).toBe(
      "MASTER_KEY_WRONG",
    );
  });
});

describe("a store without a check record", () => {
  it("is sealed with the key that is configured", async () => {
    const world = new World();
    world.file = newSealer();
    const sealer = await loadVerifiedSealer({ ...world.process(), mayGenerate: true }, "seal", never);
    expect(sealer).toBe(world.file);
    expect(world.checks.map((check) => sealer.opensSealCheck(check))).toStrictEqual([true]);
  });

  it("gets its first key when it may be made, written before the check record", async () => {
    const world = new World();
    const sealer = await loadVerifiedSealer({ ...world.process(), mayGenerate: true }, "seal", never);
    expect(world.calls).toStrictEqual(["keyCheckValues", "load", "generate", "insertFirstKeyCheckValue"]);
    expect(world.file).toBe(sealer);
  });

  it("is MASTER_KEY_MISSING when a key may not be made, and nothing is written", async () => {
    const world = new World();
    expect(await codeOf(loadVerifiedSealer({ ...world.process(), mayGenerate: false }, "seal", never))).toBe(
      "MASTER_KEY_MISSING",
    );
    expect(world.calls).toStrictEqual(["keyCheckValues", "load"]);
  });

  it("is opened without writing one", async () => {
    const world = new World();
    world.file = newSealer();
    expect(await loadVerifiedSealer({ ...world.process(), mayGenerate: true }, "open", never)).toBe(world.file);
    expect(world.checks).toStrictEqual([]);
  });

  it("is MASTER_KEY_MISSING when something is to be opened and there is no key: none is made to open with", async () => {
    const world = new World();
    expect(await codeOf(loadVerifiedSealer({ ...world.process(), mayGenerate: true }, "open", never))).toBe(
      "MASTER_KEY_MISSING",
    );
    expect(world.calls).not.toContain("generate");
  });
});

describe("two processes at first use", () => {
  const CALLS = ["keyCheckValues", "load", "generate", "insertFirstKeyCheckValue"] as const;

  it.each(CALLS)("agree when the other does all of it just before the one's %s", async (call) => {
    const world = new World();
    let other: Sealer | undefined;
    const one = world.process(async (name) => {
      if (name === call) other = await loadVerifiedSealer({ ...world.process(), mayGenerate: true }, "seal", never);
    });
    const sealer = await loadVerifiedSealer({ ...one, mayGenerate: true }, "seal", never);
    expect(other).toBeDefined();
    expect(sealer).toBe(other);
    expect(world.checks.map((check) => sealer.opensSealCheck(check))).toStrictEqual([true]);
  });

  it.each(["load", "insertFirstKeyCheckValue"] as const)(
    "with different keys: the one that is late at its %s loses, and nothing is sealed with its key",
    async (call) => {
      const world = new World();
      const winner = newSealer();
      const one = world.process((name) => {
        if (name === call) world.checks = [winner.newSealCheck()];
      });
      world.file = newSealer();
      expect(await codeOf(loadVerifiedSealer({ ...one, mayGenerate: true }, "seal", never))).toBe("MASTER_KEY_WRONG");
      expect(world.checks).toHaveLength(1);
    },
  );
});

it("what a port rejects with is passed on", async () => {
  for (const failing of ["keyCheckValues", "load", "generate", "insertFirstKeyCheckValue"]) {
    const problem = new Error(failing);
    const one = new World().process((name) => {
      if (name === failing) throw problem;
    });
    await expect(loadVerifiedSealer({ ...one, mayGenerate: true }, "seal", never)).rejects.toBe(problem);
  }
});

describe("asking whether a store may be unlocked for sealing", () => {
  const right = newSealer();
  const wrong = newSealer();
  const states = [undefined, right].flatMap((checkedWith) =>
    [undefined, right, wrong].flatMap((file) =>
      [true, false].map((mayGenerate) => ({ checkedWith, file, mayGenerate })),
    ),
  );

  it.each(states)("answers as unlock does, and makes nothing: %j", async ({ checkedWith, file, mayGenerate }) => {
    const world = () => {
      const made = new World();
      made.checks = checkedWith === undefined ? [] : [checkedWith.newSealCheck()];
      made.file = file;
      return made;
    };
    const asked = world();
    const answer = await codeOf(assertCanSeal({ ...asked.process(), mayGenerate }, never));
    expect(answer).toBe(await codeOf(loadVerifiedSealer({ ...world().process(), mayGenerate }, "seal", never)));
    expect(asked.calls).toStrictEqual(["keyCheckValues", "load"]);
  });
});

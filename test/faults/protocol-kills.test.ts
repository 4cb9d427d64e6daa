import { expect, it } from "vitest";
import { KILL_SCENES, killEverywhere } from "../support/faults/kills.ts";

/** Kills the real process (`kill -9`) at each moment before and after each port call. */
it.each(Object.entries(KILL_SCENES))(
  "a killed %s leaves nothing that reconcile does not put right",
  async (name, scene) => {
    const { moments, kills, problems } = await killEverywhere(scene);
    console.log(`${name}: ${kills} kills`);
    expect(problems).toEqual([]);
    expect(kills).toBe(moments.length);
    expect(kills).toBeGreaterThan(10);
  },
);

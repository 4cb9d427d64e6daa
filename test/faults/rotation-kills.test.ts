import { expect, it } from "vitest";
import { killEverywhere } from "../support/faults/kills.ts";
import { ROTATION_SCENES } from "../support/faults/rotation-kills.ts";

/**
 * Kills the real process (`kill -9`) before and after each port call that may change something, and before each reading of
 * what only rotations read. Between other readings, a kill leaves the same.
 */
it.each(Object.entries(ROTATION_SCENES))(
  "a killed %s leaves no key dead in its grace, and nothing that reconcile does not put right",
  async (name, scene) => {
    const { kills, problems } = await killEverywhere(scene, isPoint);
    console.log(`${name}: ${kills} kills`);
    expect(problems).toEqual([]);
    expect(kills).toBeGreaterThan(20);
  },
);

const CHANGES =
  /\.(insert\w*|replace|remove|bindAccount|create|disable|setLimit|assignGuardrail|unassignGuardrail|setAllowedKeys)$/;
const READINGS = /^before .*\.(find|checkKey|guardrailAssignments|allowLists|retirements|scanDueLimits)$/;

function isPoint(moment: string): boolean {
  return CHANGES.test(moment) || READINGS.test(moment);
}

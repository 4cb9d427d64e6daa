import type { KeyManager } from "../core/manager/manager.ts";
import { KeyctlError } from "../core/model/errors.ts";
import type { Check } from "./check.ts";

/** The managers behind those that programs hold. */
const behind = new WeakMap<object, KeyManager>();

export function noteManager(given: KeyManager, manager: KeyManager): void {
  behind.set(given, manager);
}

/** Passes on the manager behind one that a program has opened. */
export const MANAGER: Check<KeyManager> = {
  pass(value, name, method) {
    const manager = typeof value === "object" && value !== null ? behind.get(value) : undefined;
    if (manager !== undefined) return manager;
    throw new KeyctlError("USAGE", `${name} of ${method} is a manager of KeyManager.open`, {
      hint: "keys.copyTo(await KeyManager.open({ store, create: true }))",
    });
  },
};

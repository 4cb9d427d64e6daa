import { toKeyctlError } from "../core/async/deadline.ts";
import type { KeyManager } from "../core/manager/manager.ts";
import { isKeyctlError } from "../core/model/errors.ts";
import type { KeyctlError } from "../core/model/errors.ts";
import { repeatableId } from "../core/model/user-id.ts";
import { CALLS } from "./calls.ts";
import type { CallKind } from "./calls.ts";
import { BATCHES, isIterable, isObject } from "./check.ts";
import { noteManager } from "./opened-managers.ts";
import { forProgram } from "./program-texts.ts";

/**
 * A manager as a program gets it. **Invariant:** what a program gives is checked before the manager sees it, and what it
 * gets speaks of methods and options, not of the tool's commands.
 */
export function programManager(manager: KeyManager): KeyManager {
  const methods = new Map<PropertyKey, Method>();
  for (const [name, call] of Object.entries<AnyCall>(CALLS)) methods.set(name, methodOf(manager, name, call));
  const given = new Proxy(manager, { get: (target, name) => methods.get(name) ?? Reflect.get(target, name, target) });
  noteManager(given, manager);
  return given;
}

type Method = (...given: unknown[]) => unknown;
interface AnyArgument {
  readonly pass: (value: unknown, name: string, method: string) => unknown;
}
type AnyCall = CallKind & {
  readonly takes: readonly (readonly [name: string, check: AnyArgument, optional?: "optional"])[];
};

/** Throws what a check of the arguments throws. */
function checkedArguments(method: string, takes: AnyCall["takes"], given: readonly unknown[]): unknown[] {
  return takes.map(([name, check, optional], index) => {
    const value = given[index];
    return value === undefined && optional !== undefined ? value : check.pass(value, name, method);
  });
}

function methodOf(manager: KeyManager, name: string, call: AnyCall): Method {
  const { takes } = call;
  const work: Method = (...given) => called(manager, name, checkedArguments(name, takes, given));
  switch (call.kind) {
    case "result":
      return async (...given) => {
        try {
          return forProgram(await work(...given));
        } catch (thrown) {
          const error: KeyctlError = toKeyctlError(thrown);
          return forProgram(await call.failed(repeatableId(given[0]), error));
        }
      };
    case "promise":
      return (...given) => settled(async () => work(...given));
    case "run":
      return (...given) => settled(async () => programRun(await work(...given), name));
    case "iterable":
      return (...given) => each(() => work(...given));
    case "value":
      return (...given) => spoken(() => work(...given));
  }
}

function called(target: object, name: PropertyKey, given: readonly unknown[]): unknown {
  const method: unknown = Reflect.get(target, name, target);
  if (typeof method !== "function") throw new TypeError(`${String(name)} is not a method`);
  return Reflect.apply(method, target, given);
}

async function settled(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return forProgram(await work());
  } catch (thrown) {
    throw isKeyctlError(thrown) ? forProgram(thrown) : thrown;
  }
}

function spoken(work: () => unknown): unknown {
  try {
    return forProgram(work());
  } catch (thrown) {
    throw isKeyctlError(thrown) ? forProgram(thrown) : thrown;
  }
}

async function* each(begin: () => unknown): AsyncGenerator {
  try {
    const results = begin();
    if (isIterable(results)) for await (const result of results) yield forProgram(result);
  } catch (thrown) {
    throw isKeyctlError(thrown) ? forProgram(thrown) : thrown;
  }
}

/** A run over many keys, which has methods of its own: each of them is an iterable. */
function programRun(run: unknown, name: string): unknown {
  if (!isObject(run)) return run;
  return new Proxy(run, {
    get(target, member) {
      const value: unknown = Reflect.get(target, member, target);
      if (typeof value !== "function") return forProgram(value);
      return (...given: unknown[]) =>
        each(() =>
          called(
            target,
            member,
            given.map((one) => (isIterable(one) ? BATCHES.pass(one, "the batches", name) : one)),
          ),
        );
    },
  });
}

import type { Ports } from "../../../src/compose.ts";

/**
 * One call of a port, or of an object that a port returned: `store.insert`, `openRouter.open.withManagementKey.create`.
 */
interface PortCall {
  readonly name: string;
  readonly words: readonly unknown[];
}

/** The answer to a call. For an iteration, the value is the list of all items that were read. */
export type PortAnswer = { readonly value: unknown } | { readonly error: unknown };

/**
 * Observes every call between the core and its ports. It is called synchronously, so its writes are complete when the
 * process is killed. An error that it throws replaces the call or its answer.
 */
export interface Witness {
  readonly begins: (call: PortCall) => unknown;
  /** `token` is the value that `begins` returned for this call. */
  readonly ends: (call: PortCall, answer: PortAnswer, token: unknown) => void;
}

export function witnessed(ports: Ports, witness: Witness): Ports {
  const { sources, ...others } = ports;
  return {
    ...watched("", others, witness),
    sources: sources.map((source) => watched(source.name, source, witness)),
  };
}

function watched<Target extends object>(name: string, target: Target, witness: Witness): Target {
  return new Proxy(target, {
    get(_, property) {
      const member: unknown = Reflect.get(target, property);
      const path = name === "" ? String(property) : `${name}.${String(property)}`;
      if (typeof member === "function") return watchedCall(path, member.bind(target) as Method, witness);
      return name === "" && isPort(member) ? watched(path, member, witness) : member;
    },
    ownKeys: () => Reflect.ownKeys(target),
  });
}

type Method = (...words: readonly unknown[]) => unknown;

function watchedCall(name: string, act: Method, witness: Witness): Method {
  return (...words) => {
    const call = { name, words };
    const begin = () => witness.begins(call);
    const finish = (token: unknown, answer: PortAnswer) => witness.ends(call, answer, token);
    if (ITERATED.test(name)) return iterated(act(...words) as AsyncIterable<unknown>, begin, finish);
    const token = begin();
    const give = (value: unknown) => {
      finish(token, { value });
      return isPort(value) ? watched(name, value, witness) : value;
    };
    const fail = (error: unknown) => {
      finish(token, { error });
      throw error;
    };
    let result: unknown;
    try {
      result = act(...words);
    } catch (error) {
      return fail(error);
    }
    return result instanceof Promise ? result.then(give, fail) : give(result);
  };
}

/** The calls that return an iterable. */
const ITERATED =
  /\.(scan|scanJournal|retirements|scanDueLimits|withManagementKey\.(list|workspaces|guardrailAssignments|allowLists))$/;

/** The call begins when its first item is requested, and ends with the iteration. */
async function* iterated(
  items: AsyncIterable<unknown>,
  begin: () => unknown,
  finish: (token: unknown, answer: PortAnswer) => void,
): AsyncGenerator {
  const token = begin();
  const seen: unknown[] = [];
  let answer: PortAnswer = { value: seen };
  try {
    for await (const item of items) {
      seen.push(item);
      yield item;
    }
  } catch (error) {
    answer = { error };
    throw error;
  } finally {
    finish(token, answer);
  }
}

function isPort(value: unknown): value is object {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Error) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  const names = prototype === Object.prototype || prototype === null ? [] : Object.getOwnPropertyNames(prototype);
  return [...Object.keys(value), ...names].some(
    (name) => name !== "constructor" && typeof Reflect.get(value, name) === "function",
  );
}

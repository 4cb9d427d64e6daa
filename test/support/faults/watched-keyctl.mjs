// The built tool with a watcher between the core and its ports. It writes the name of each call to the file
// WATCH_CALLS. At the call WATCH_AT it sends WATCH_SIGNAL to its own process, throws WATCH_ERROR or, with WATCH_HANG,
// never returns from the call. WATCH_AT is the number of the call (from 1) or its name (`#3` for the third of that
// name), and `before`, `after` or, for the last of many records, `during`.
import { appendFileSync } from "node:fs";
import { createRequire } from "node:module";

const { main, thisProcess } = createRequire(import.meta.url)("../../../dist/tool/main.cjs");
const { WATCH_CALLS, WATCH_AT, WATCH_SIGNAL, WATCH_ERROR, WATCH_HANG } = process.env;
let calls = 0;
const callsOf = new Map();

function reached(name, number, moment) {
  const points = [`${number} ${moment}`, `${name} ${moment}`, `${name}#${callsOf.get(name)} ${moment}`];
  const isPoint = points.includes(WATCH_AT);
  if (moment === "before" || isPoint) appendFileSync(WATCH_CALLS, `${name}${isPoint ? ` <- ${moment}` : ""}\n`);
  if (!isPoint) return undefined;
  if (WATCH_HANG !== undefined) return new Promise(() => setInterval(() => {}, 60_000));
  if (WATCH_ERROR !== undefined) throw new Error(WATCH_ERROR);
  process.kill(process.pid, WATCH_SIGNAL);
  return undefined;
}

/** Watches every method of a port, and of returned values that have methods themselves. */
function watched(name, target) {
  return new Proxy(target, {
    get(_, property) {
      const member = target[property];
      return typeof member === "function" ? watchedCall(`${name}.${String(property)}`, member.bind(target)) : member;
    },
  });
}

function watchedCall(name, act) {
  return (...words) => {
    calls += 1;
    const number = calls;
    callsOf.set(name, (callsOf.get(name) ?? 0) + 1);
    const hanging = reached(name, number, "before");
    if (hanging !== undefined) return hanging;
    const result = act(...words.map((word) => (Array.isArray(word) ? duringLast(name, number, word) : word)));
    const giveBack = (value) => given(name, number, value);
    return result instanceof Promise ? result.then(giveBack) : giveBack(result);
  };
}

function given(name, number, value) {
  void reached(name, number, "after");
  if (typeof value?.[Symbol.asyncIterator] === "function") return { [Symbol.asyncIterator]: () => steps(name, value) };
  const isPort = typeof value === "object" && value !== null && Object.values(value).some(isFunction);
  return isPort ? watched(name, value) : value;
}

/** A copy of the array that reports `during` when the call reads the last element. */
function duringLast(name, number, items) {
  const last = items.at(-1);
  const copy = [...items];
  Object.defineProperty(copy, copy.length - 1, { get: () => (reached(name, number, "during"), last) });
  return copy;
}

/** Each row that a port yields counts as a call of its own. */
function steps(name, iterable) {
  const iterator = iterable[Symbol.asyncIterator]();
  return { next: watchedCall(`${name}.next`, () => iterator.next()), return: () => iterator.return?.() };
}

function isFunction(value) {
  return typeof value === "function";
}

process.exitCode = await main({
  ...thisProcess(),
  around: ({ store, masterKeys, sources, openRouter, spool }) => ({
    store: watched("store", store),
    masterKeys: watched("masterKeys", masterKeys),
    sources: sources.map((source) => watched(source.name, source)),
    openRouter: watched("openRouter", openRouter),
    spool: watched("spool", spool),
  }),
});

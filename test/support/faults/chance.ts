import { randomInt } from "node:crypto";

export function oneOf<One>(many: readonly One[]): One {
  const one = many[randomInt(many.length)];
  if (one === undefined) throw new Error("there is nothing to choose from");
  return one;
}

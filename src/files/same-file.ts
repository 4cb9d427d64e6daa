import { statSync } from "node:fs";

/** Whether two paths lead to the same file, links included. False if one of them does not exist yet. */
export function isSameFile(one: string, other: string): boolean {
  if (one === other) return true;
  const [first, second] = [one, other].map(look);
  return first !== undefined && first.dev === second?.dev && first.ino === second.ino;
}

function look(path: string) {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined; // Opening the file reports the reason.
  }
}

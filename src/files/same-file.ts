import { statSync } from "node:fs";

/** Whether two paths lead to one file, by links too. False where one of them leads nowhere yet. */
export function isSameFile(one: string, other: string): boolean {
  if (one === other) return true;
  const [first, second] = [one, other].map(look);
  return first !== undefined && first.dev === second?.dev && first.ino === second.ino;
}

function look(path: string) {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined; // Opening it says why.
  }
}

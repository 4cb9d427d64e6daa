type Environment = Readonly<Record<string, string | undefined>>;

/** Values that mean that a variable of a CI system is not set. */
const NOT_SET: ReadonlySet<string> = new Set(["", "0", "false", "no", "off"]);

/** **Invariant:** whether this run is part of a CI job is decided here, and nowhere else. */
export function isCi(environment: Environment): boolean {
  return isSetForCi(environment, "CI");
}

/** Whether a variable of a CI system is set, and not to a word that means that it is not. */
export function isSetForCi(environment: Environment, name: string): boolean {
  return !NOT_SET.has((environment[name] ?? "").trim().toLowerCase());
}

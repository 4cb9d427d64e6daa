type Environment = Readonly<Record<string, string | undefined>>;

/** The variables that name the store. The first group with a variable that is set is read; its variables must agree. */
const STORE_VARIABLES: readonly (readonly string[])[] = [
  ["KEYCTL_STORE", "KEYCTL_STORE_FILE"],
  ["MONGODB_URI", "MONGODB_URI_FILE", "MONGO_URI", "MONGO_URI_FILE"],
];

/** The variables of which the store is read. */
export function storeVariablesRead(environment: Environment): readonly string[] {
  return STORE_VARIABLES.find((group) => group.some((name) => environment[name] !== undefined)) ?? [];
}

/**
 * The variables that name a store too, and that are not read.
 * @param from the flag or variable that names the store
 */
export function storeVariablesNotRead(environment: Environment, from: string): readonly string[] {
  const read = STORE_VARIABLES.findIndex((group) => group.includes(from));
  return STORE_VARIABLES.slice(read + 1)
    .flat()
    .filter((name) => environment[name] !== undefined);
}

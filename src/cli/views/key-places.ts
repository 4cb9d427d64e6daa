import { inHome } from "../../files/home-folder.ts";
import type { GlobalOptions, KeyPlaces } from "../invocation.ts";

/** The actual places of key.txt and OPENROUTER_API_KEY, as a person would type them. Throws CONFIG_INVALID if `~` has no home folder. */
export function keyPlaces(
  { keyFile }: GlobalOptions,
  environment: Readonly<Record<string, string | undefined>>,
): KeyPlaces {
  const secretFile = environment["OPENROUTER_API_KEY_FILE"];
  const path = inHome(keyFile ?? (environment["KEYCTL_KEY_FILE"] || "key.txt"), environment);
  return {
    "key.txt": { kind: "file", path },
    environment: secretFile
      ? { kind: "file", path: inHome(secretFile, environment) }
      : { kind: "variable", name: "OPENROUTER_API_KEY" },
  };
}

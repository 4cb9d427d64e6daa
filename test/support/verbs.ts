/** Every command but `help`, in the order of the help. */
export const VERBS = [
  "sync",
  "get",
  "provision",
  "validate",
  "save",
  "purge",
  "list",
  "explain",
  "rekey",
  "copy",
  "reconcile",
  "doctor",
] as const;

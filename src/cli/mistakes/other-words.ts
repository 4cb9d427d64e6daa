/**
 * What people type who come from other tools, and what it is here. **Invariant:** a word of this table is never guessed by
 * its letters: `revoke` is near `rekey`, and means a purge.
 */
const WORDS_FOR: Readonly<Record<string, string>> = {
  get: "cat fetch find key lookup print read search show view",
  "get --reveal": "decrypt echo reveal",
  sync: "ensure pull refresh resolve",
  save: "add edit insert put set store update upsert write",
  "save --replace": "overwrite",
  purge: "clear del delete destroy drop erase forget remove rm unset wipe",
  "purge --revoke": "deactivate invalidate kill revoke",
  "purge --block": "ban block deny lock offboard suspend",
  unblock: "allow enable unban unlock unsuspend",
  exec: "env run shell spawn start with",
  provision: "create gen generate issue make mint new register request",
  validate: "balance check credits ping quota test verify",
  rotate: "change cycle regenerate reissue replace roll rollover swap",
  renew: "recover revive",
  leaked: "compromised exposed leak stolen",
  import: "load upload",
  list: "all index keys ls users",
  "list --count": "count",
  history: "activity audit events journal log logs",
  explain: "debug inspect source sources trace where which why",
  rekey: "encrypt migrate-encryption re-encrypt reencrypt reseal seal",
  copy: "backup clone cp dump export migrate mirror move mv restore",
  reconcile: "cleanup compare diff gc orphans prune",
  doctor: "diag diagnose fix health info init install login logout repair setup signin stats status whoami",
  completion: "autocomplete complete completions",
  "--help": "commands docs man usage",
  "--version": "about ver version",
  "help environment": "config configure environment preferences settings variables",
  "help exit-codes": "exit-codes exitcodes codes errors",
};

const MEANINGS: ReadonlyMap<string, string> = new Map(
  Object.entries(WORDS_FOR).flatMap(([meaning, words]) => words.split(" ").map((word) => [word, meaning])),
);

export const OTHER_WORDS: readonly string[] = [...MEANINGS.keys()];

/** The command for a word of another tool, with its options; `delete-key` and `DELETE` are `delete`. */
export function commandMeant(word: string): string | undefined {
  const plain = word.toLowerCase();
  return MEANINGS.get(plain) ?? MEANINGS.get(plain.replace(/[-_:]?(?:api[-_]?)?keys?$/, ""));
}

/** Options of other tools; of those that they may mean here, the first that a command has. */
const OPTIONS_FOR: Readonly<Record<string, string>> = {
  "--yes --replace --fix": "--force --assume-yes -f -y",
  "--user": "--id --uid --user-id --userid --username --name --email -U",
  "--from-file --users-file --csv": "--file --input --path -f",
  "--output": "-o --out --outfile",
  "--users-file": "--list --users-from",
  "--json": "--format --output-format -j -o",
  "--store": "--db --database --database-url --mongo --mongodb --sqlite --uri --url",
  "--to": "--dest --destination --target",
  "--verbose": "-v",
  "--version": "-v -V",
  "--debug": "--stack --trace --verbose -d",
  "--quiet": "--silent -s",
  "--dry-run": "--dry --preview --simulate --what-if --noop -n",
  "--expires-in": "--expire --expires --expiry --lifetime --ttl --valid-for",
  "--limit": "--amount --budget --cap --max --spend --spending-limit",
  "--limit-reset": "--period --reset",
  "--reveal": "--clear --decrypt --plain --plaintext --raw --show --unmask",
  "--stored": "--cached --db-only --offline",
  "--reason": "--comment --message --note -m",
  "--hash": "--key-hash --sha --sha256",
  "--since": "--after --from --last",
  "--no-color": "--color --colour --no-colour",
  "--no-input": "--batch --non-interactive --no-interactive --no-prompt",
  "--create": "--init --mkdir",
};

/**
 * The option of a command that an option of another tool means.
 * @param isRequired whether an option of the command takes a value; undefined if the command lacks it
 * @param hasValue whether a value stands behind the option: `-o json` is no switch
 */
export function optionMeant(
  option: string,
  isRequired: (long: string) => boolean | undefined,
  hasValue: boolean,
): string | undefined {
  const meanings = Object.entries(OPTIONS_FOR)
    .filter(([, words]) => words.split(" ").includes(option))
    .flatMap(([longs]) => longs.split(" "));
  const exact = meanings.find((long) => isRequired(long) === hasValue);
  return exact ?? meanings.find((long) => !hasValue && isRequired(long) === true);
}

export const OTHER_OPTIONS: ReadonlySet<string> = new Set(
  Object.values(OPTIONS_FOR).flatMap((words) => words.split(" ")),
);

/** Options that would have a secret as their value. None is a mistake for another option: its value is not repeated. */
export const SECRET_OPTIONS: ReadonlySet<string> = new Set(
  "--key --api-key --apikey --token --secret --password --pass --management-key --provisioning-key --master-key -k -p".split(
    " ",
  ),
);

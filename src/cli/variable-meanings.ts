/** The environment variables that keyctl reads. */
export const VARIABLES: readonly (readonly [name: string, meaning: string])[] = [
  ["OPENROUTER_API_KEY", "a key to use and save when neither the database nor key.txt has one"],
  ["OPENROUTER_PROVISIONING_KEY", "the management key; OPENROUTER_MANAGEMENT_KEY is its newer name"],
  ["KEYCTL_PROVISION_LIMIT", "what a new key may spend, in USD, or none"],
  ["KEYCTL_PROVISION_LIMIT_RESET", "daily, weekly or monthly"],
  ["KEYCTL_PROVISION_EXPIRES_IN", "how long a new key lives, such as 90d"],
  ["KEYCTL_PROVISION_WORKSPACE", "the workspace that new keys belong to"],
  ["KEYCTL_MAX_PROVISIONS_PER_HOUR", "keys created automatically per hour (60; 0: no limit)"],
  ["KEYCTL_ROTATE_GRACE", "how long the old key works after a rotation (10m; 0: no longer)"],
  ["KEYCTL_HISTORY_DAYS", "how long the history is kept, in days (400)"],
  ["KEYCTL_OPENROUTER_URL", "the address of OpenRouter's API, for a gateway or a mock server"],
  ["HTTPS_PROXY, HTTP_PROXY", "the proxy on the way to OpenRouter: http:// or https://"],
  ["ALL_PROXY", "the same, read where neither of them is set"],
  ["NO_PROXY", "hosts, domains, addresses and CIDR ranges that need no proxy"],
  ["NODE_EXTRA_CA_CERTS", "a PEM file of certificate authorities of your own"],
  ["KEYCTL_STORE", "where keys are kept: sqlite:<path> or mongodb://<host>/<db>"],
  ["KEYCTL_STORE_FILE", "a file that holds the value of KEYCTL_STORE"],
  ["KEYCTL_CREATE_STORE", "1: create a named store that is missing, as --create does"],
  ["MONGODB_URI, MONGO_URI", "read where neither --store nor KEYCTL_STORE is given"],
  ["KEYCTL_ALLOW_NON_ATOMIC_STORE", "1: replace keys on FerretDB 1 too, where nothing else changes them"],
  ["KEYCTL_COPY_TO", "copy: the store to copy to, when its URI holds a password"],
  ["KEYCTL_COPY_TO_FILE", "a file that holds the value of KEYCTL_COPY_TO"],
  ["KEYCTL_KEY_FILE", "the file to read in place of ./key.txt"],
  ["KEYCTL_AUTO_PROVISION", "0: never create a key"],
  ["KEYCTL_MASTER_KEYS", "master keys: a JWK Set, or one base64url key of 32 bytes"],
  ["KEYCTL_MASTER_KEYS_FILE", "a file that holds them"],
  ["KEYCTL_MASTER_KEYS_COMMAND", "a shell command that prints them (KMS, Vault, pass, …)"],
  ["CREDENTIALS_DIRECTORY", "systemd: the credential keyctl-master-keys in it"],
  ["KEYCTL_REQUIRE_SEALED", "1: use no key that is stored in plain text (default; on MongoDB, 0)"],
  ["XDG_DATA_HOME", "where keyctl/keyctl.db is created by default"],
  ["XDG_CONFIG_HOME", "where keyctl/master-keys.json is created by default"],
  ["XDG_STATE_HOME", "where keys wait that could not be stored: keyctl/spool"],
  ["NO_COLOR", "no colour"],
  ["CI", "no questions; 0, false, no and off mean that it is not set"],
];

/** Variables without a row of their own: `_FILE` forms, and older or newer names. */
const OTHER_FORMS: Readonly<Record<string, readonly string[]>> = {
  OPENROUTER_API_KEY: ["OPENROUTER_API_KEY_FILE"],
  OPENROUTER_PROVISIONING_KEY: [
    "OPENROUTER_PROVISIONING_KEY_FILE",
    "OPENROUTER_MANAGEMENT_KEY",
    "OPENROUTER_MANAGEMENT_KEY_FILE",
  ],
  MONGODB_URI: ["MONGODB_URI_FILE"],
  MONGO_URI: ["MONGO_URI_FILE"],
  HTTPS_PROXY: ["https_proxy"],
  HTTP_PROXY: ["http_proxy"],
  ALL_PROXY: ["all_proxy"],
  NO_PROXY: ["no_proxy"],
};

/** The variables of keyctl that are set here, in the order of the table. */
export function variablesSet(environment: Readonly<Record<string, string | undefined>>): readonly string[] {
  const names = VARIABLES.flatMap(([listed]) => listed.split(", ")).flatMap((name) => [
    name,
    ...(OTHER_FORMS[name] ?? []),
  ]);
  return names.filter((name) => environment[name] !== undefined && environment[name] !== "");
}

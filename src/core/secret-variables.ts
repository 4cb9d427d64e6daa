/** Variables that hold a secret: no child process gets them, and what they hold is never printed. */
export const SECRET_VARIABLES: readonly string[] = [
  "OPENROUTER_API_KEY",
  "OPENROUTER_PROVISIONING_KEY",
  "OPENROUTER_MANAGEMENT_KEY",
  "KEYCTL_MASTER_KEYS",
  "MONGODB_URI",
  "MONGO_URI",
  "KEYCTL_COPY_TO",
];

/** OpenRouter's own id of a key: its SHA-256, as 64 hex characters in lower case. */
export const KEY_HASH = /^[0-9a-f]{64}$/;

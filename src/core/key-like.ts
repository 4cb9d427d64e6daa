/** What looks like a key of OpenRouter's, of any kind and version, anywhere in a text. */
export const KEY_LIKE = /sk-or-(?:v\d+|mgmt)-[A-Za-z0-9_-]{8,}/;

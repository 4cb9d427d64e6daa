import type { HistoryStore } from "./history.ts";
import type { Journal } from "./journal.ts";
import type { Inspection, KeyCheckValues, KeyStore } from "./stores-and-sources.ts";

/** Everything that one database keeps. */
export type Store = KeyStore & KeyCheckValues & Inspection & Journal & HistoryStore;

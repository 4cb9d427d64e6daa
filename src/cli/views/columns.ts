import type { Column } from "../terminal/table.ts";

/** As wide as an ObjectId. */
export const USER_COLUMN: Column = { title: "USER", shrinks: true, usual: 24 };
/** Masks. */
export const KEY_COLUMN: Column = { title: "KEY", usual: 19 };

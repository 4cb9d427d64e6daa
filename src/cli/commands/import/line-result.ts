import type { ImportResult } from "../../../core/change/import-keys.ts";

/** The result of a line; without a user if the line names none. */
export type LineResult = Omit<ImportResult, "userId"> & { readonly number: number; readonly userId: string | null };

/** What is read of an answer at most; its rest is never fetched. */
export const MAX_REPLY_BYTES = 64 * 1024;
/** Of a page of a list. */
export const MAX_PAGE_BYTES = 1024 * 1024;

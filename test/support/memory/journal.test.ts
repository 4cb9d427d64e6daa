import { journalContract } from "../../contract/journal.ts";
import { memoryJournal } from "./journal.ts";

journalContract("the journal of the core's tests", async () => {
  const journal = { ...memoryJournal(), close: async () => {} };
  return { connect: async () => journal, remove: async () => {} };
});

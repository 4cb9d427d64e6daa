import { historyContract } from "../../contract/history.ts";
import { memoryHistory } from "./history.ts";

historyContract("the history of the core's tests", async () => {
  const history = { ...memoryHistory(), close: async () => {} };
  return { connect: async () => history, remove: async () => {} };
});

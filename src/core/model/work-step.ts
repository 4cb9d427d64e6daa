/** How far a long call is, for whoever waits for it. */
export interface WorkStep {
  readonly part: "listing" | "comparing" | "rows" | "removing";
  /** How many keys, users or rows are done. */
  readonly done: number;
  /** Undefined if it is not known. */
  readonly total: number | undefined;
}

export type OnStep = (step: WorkStep) => void;

export type UnknownReason = "rate_limited" | "timed_out" | "unreachable" | "provider_error";

/** What a person can do about a failure on the way to OpenRouter. */
export interface Remedy {
  readonly hint: string;
  /** False: the same request may also succeed later by itself. */
  readonly isRequired: boolean;
}

export type UnknownReason = "rate_limited" | "timed_out" | "unreachable" | "provider_error";

/** The remedy for a failure on the way to OpenRouter. */
export interface Remedy {
  readonly hint: string;
  /** False: the same request may succeed later without any change. */
  readonly isRequired: boolean;
}

/** Where OpenRouter's API is, checked once. */
export interface BaseUrl {
  /** Without a slash at its end. */
  readonly href: string;
  readonly origin: string;
  /** The prefix of every call's path; empty, or with a leading slash only. */
  readonly prefix: string;
  readonly isLoopback: boolean;
}

const PARTS = /^https?:\/\/[^/?#@\\\s]+(?:\/[^?#\\\s]*)?$/i;
const LOOPBACK = /^(?:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\]|localhost)$/;

export const OPENROUTER: BaseUrl = {
  href: "https://openrouter.ai/api/v1",
  origin: "https://openrouter.ai",
  prefix: "/api/v1",
  isLoopback: false,
};

/**
 * Keys are sent to this address: it must be https, or plain http on this machine, and must not hold a secret. The problem
 * completes a sentence that begins with the variable's name, and repeats nothing of its value.
 */
export function parseBaseUrl(text: string): BaseUrl | { readonly problem: string } {
  if (/[?#]/.test(text)) return { problem: "has a query or a fragment, which the address of an API has not" };
  if (text.includes("@")) return { problem: "holds a user name or an @, which the address of an API has not" };
  // \p{Cc} is checked as well, because a URL parser silently drops tabs and line ends.
  const url = PARTS.test(text) && !/\p{Cc}/u.test(text) ? parsed(text) : undefined;
  if (url === undefined) return { problem: "is not an http or https URL" };
  const isLoopback = LOOPBACK.test(url.hostname);
  if (url.protocol === "http:" && !isLoopback) return { problem: "is not https: plain http is for this machine only" };
  const prefix = url.pathname.replace(/\/+$/, "");
  return { href: url.origin + prefix, origin: url.origin, prefix, isLoopback };
}

function parsed(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

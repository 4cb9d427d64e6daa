import { KeyctlError } from "../core/model/errors.ts";
import type { OpenRouter } from "../core/ports/openrouter.ts";
import { OPENROUTER, parseBaseUrl } from "./http/base-url.ts";
import { openRouter } from "./client.ts";
import type { OpenRouterOptions } from "./client.ts";

/**
 * OpenRouter at the address in KEYCTL_OPENROUTER_URL, or at its own. Throws CONFIG_INVALID.
 * @param url undefined if none is configured
 */
export function openRouterAt(url: string | undefined, options: Omit<OpenRouterOptions, "baseUrl">): OpenRouter {
  const baseUrl = url === undefined ? OPENROUTER : parseBaseUrl(url);
  if (!("problem" in baseUrl)) return openRouter({ ...options, baseUrl });
  throw new KeyctlError("CONFIG_INVALID", `KEYCTL_OPENROUTER_URL ${baseUrl.problem}`, {
    hint: `KEYCTL_OPENROUTER_URL=${OPENROUTER.href}, or unset it`,
  });
}

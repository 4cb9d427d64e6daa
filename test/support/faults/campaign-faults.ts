import { randomInt } from "node:crypto";
import type { Fault, Rule } from "../openrouter/faults.ts";
import type { Route } from "../openrouter/routes.ts";
import { oneOf } from "./chance.ts";

/** Of the requests that may go wrong, in percent. */
const SPOILED = 20;

const FAULTS: Readonly<Partial<Record<Route, readonly Fault[]>>> = {
  "POST /keys": [
    "reset-before",
    "reset-after",
    "late-apply",
    "twice",
    "html",
    { status: 503 },
    { status: 503, obeyed: true },
    { status: 429, headers: { "retry-after": "0" } },
    { status: 402 },
    { delayMs: 200 },
  ],
  "GET /workspaces": [{ status: 503 }, { status: 403 }, "reset-before"],
  "GET /keys": ["reset-before", { status: 503 }, { status: 403 }, { delayMs: 200 }],
  "PATCH /keys/{hash}": ["reset-after", "reset-before", { status: 503 }, { status: 403 }],
  "DELETE /keys/{hash}": ["reset-after", "reset-before", { status: 503 }, { status: 403 }],
  "GET /keys/{hash}": ["reset-before", { status: 503 }, { status: 403 }, { delayMs: 200 }],
  "GET /key": ["reset-before", { status: 401 }, { status: 503 }],
  "GET /guardrails/assignments/keys": ["reset-before", { status: 503 }],
  "POST /guardrails/{id}/assignments/keys": ["reset-after", "reset-before", { status: 503 }, { status: 403 }],
  "POST /guardrails/{id}/assignments/keys/remove": ["reset-after", "reset-before", { status: 503 }],
  "GET /byok": ["reset-before", { status: 503 }],
  "PATCH /byok/{id}": ["reset-after", "reset-before", { status: 503 }, { status: 403 }],
};

/** A fifth of all requests go wrong. */
export function spoiling(faultless: readonly Route[], onFault: () => void): Rule {
  return ({ route }) => {
    if (randomInt(100) >= SPOILED) return "pass";
    const faults = FAULTS[route];
    if (faults === undefined || faultless.includes(route)) return "pass";
    onFault();
    return oneOf(faults);
  };
}

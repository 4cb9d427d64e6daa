import type { SourceFacts } from "../collect-facts.ts";
import { printable } from "../../text/printable.ts";
import { shellQuote } from "../../text/shell-quote.ts";
import { OWNER_OR_MOUNT } from "../../model/key-file-mode.ts";
import { attention, pass, wrong } from "./check-result.ts";
import type { CheckVerdict } from "./check-result.ts";
import { octal } from "../../text/format.ts";

/** Facts about this machine, apart from the store and its keys. */
export interface HostFacts {
  /** The place of the store as people know it, and the setting that names it. */
  readonly storeLabel: string;
  readonly keyFile: {
    /** The path as a person would type it. */
    readonly path: string;
    /** Null if the file does not exist. */
    readonly mode: number | null;
    /** The other users who may read the file; null if no other user may. */
    readonly readableBy: "group" | "others" | null;
    readonly isTracked: boolean;
  };
  /** The names of the variables of keyctl that are set. A name of a store that is not used says so. */
  readonly variables: readonly string[];
  /** Whether NODE_TLS_REJECT_UNAUTHORIZED asks Node not to verify certificates. */
  readonly asksForNoVerification: boolean;
  /** The path of the `keyctl` that a shell would start, if that is another program. */
  readonly otherKeyctl: string | null;
}

export function keyFileVerdict({ reading, warnings }: SourceFacts, file: HostFacts["keyFile"]): CheckVerdict {
  const { path, mode, readableBy, isTracked } = file;
  const shown = printable(/[/\\]/.test(path) ? path : `./${path}`);
  const isMissed = warnings.some(({ code }) => code === "KEY_FILE_MISSING");
  const isFixed = warnings.some(({ code, fixable }) => code === "KEY_FILE_MODE" && fixable === false);
  const steps = [
    ...(readableBy === null || isFixed ? [] : [`chmod 600 ${shellQuote(path)}`]),
    ...(isTracked ? [`git rm --cached ${shellQuote(path)}`] : []),
  ];
  const problems = [
    ...(isMissed ? ["does not exist"] : []),
    ...(reading.status === "malformed" ? [reading.detail] : []),
    ...(reading.status === "unreadable" ? [`could not be read: ${reading.reason}`] : []),
    ...(readableBy === null || mode === null ? [] : [`readable by ${readableBy} (${octal(mode)})`]),
    ...(isTracked ? ["tracked by git"] : []),
  ];
  const repair = isMissed ? "check --key-file and KEYCTL_KEY_FILE" : `put one key in ${shellQuote(path)}, or remove it`;
  if (reading.status === "management-key") {
    return wrong([`${shown}: holds the management key`, ...problems].join(", "), repair);
  }
  const otherwise = isFixed && reading.status === "found" ? OWNER_OR_MOUNT : repair;
  if (problems.length > 0) return attention(`${shown}: ${problems.join(", ")}`, steps.join(" && ") || otherwise);
  if (reading.status !== "found") return pass(`${shown}: none`);
  return pass(`${shown}: one key${mode === null ? "" : ` (mode ${octal(mode)})`}`);
}

export function environmentVerdicts({ place, reading }: SourceFacts): readonly CheckVerdict[] {
  const repair = `unset ${place}, or set it anew`;
  if (reading.status === "management-key") return [wrong(`${place} holds the management key`, repair)];
  return reading.status === "malformed" ? [attention(`${place} ${reading.detail}`, repair)] : [];
}

export function pathVerdict(otherKeyctl: string | null): CheckVerdict {
  if (otherKeyctl === null) return pass("no other keyctl");
  const isKeyutils = /^\/(usr\/)?s?bin\/keyctl$/.test(otherKeyctl);
  const what = isKeyutils ? "the Linux keyutils tool" : "another program";
  return attention(`${printable(otherKeyctl)} is ${what}, not this one`, "use openrouter-keyctl");
}

export function variablesVerdicts({ variables, asksForNoVerification }: HostFacts): readonly CheckVerdict[] {
  return [
    ...(asksForNoVerification ? [NOT_FOLLOWED] : []),
    pass(variables.length === 0 ? "no variable of keyctl is set" : variables.join(", ")),
  ];
}

const NOT_FOLLOWED = attention(
  "NODE_TLS_REJECT_UNAUTHORIZED=0 is set and ignored: certificates are still verified",
  "unset NODE_TLS_REJECT_UNAUTHORIZED; NODE_EXTRA_CA_CERTS=<file> names an authority of your own",
);

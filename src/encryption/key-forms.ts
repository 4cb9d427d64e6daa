import { shellQuote } from "../core/text/shell-quote.ts";
import type { OtherForm } from "./jwk-set.ts";
import type { MasterKeyPlace } from "./master-key-place.ts";

/** Shell commands that read the other encoding on standard input and write base64url. */
const CONVERSION: Readonly<Record<OtherForm["name"], string>> = {
  base64: "tr '+/' '-_' | tr -d '=\\n'",
  hex: "xxd -r -p | base64 | tr '+/' '-_' | tr -d '=\\n'",
};
const FORM: Readonly<Record<OtherForm["name"], string>> = { base64: "standard base64", hex: "hex" };

/** A hint with a command that converts a key printed by `openssl rand` to base64url; it can be typed as printed. */
export function conversionOf({ name, isBare }: OtherForm, place: MasterKeyPlace): string {
  const conversion = CONVERSION[name];
  const isIn = `it is in ${FORM[name]}`;
  if (!isBare) return `${isIn}; in a JWK, "k" is what this prints for it: ${conversion}`;
  switch (place.kind) {
    case "text":
      return `${isIn}; this converts it:\n      export ${place.from}="$(printenv ${place.from} | ${conversion})"`;
    case "command":
      return `${isIn}; put this behind the command: | ${conversion}`;
    case "file":
    case "credential":
    case "default-file": {
      const [path, draft] = [shellQuote(place.path), shellQuote(`${place.path}.new`)];
      return `${isIn}; this converts it:\n      (umask 077; cat ${path} | ${conversion} > ${draft}) && mv ${draft} ${path}`;
    }
  }
}

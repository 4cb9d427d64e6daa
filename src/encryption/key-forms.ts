import { shellQuote } from "../core/text/shell-quote.ts";
import type { OtherForm } from "./jwk-set.ts";
import type { MasterKeyPlace } from "./master-key-place.ts";

/** What reads the other form on standard input and writes base64url. */
const CONVERSION: Readonly<Record<OtherForm["name"], string>> = {
  base64: "tr '+/' '-_' | tr -d '=\\n'",
  hex: "xxd -r -p | base64 | tr '+/' '-_' | tr -d '=\\n'",
};
const FORM: Readonly<Record<OtherForm["name"], string>> = { base64: "standard base64", hex: "hex" };

/** How a key that `openssl rand` has printed becomes what keyctl reads: a command that can be typed as it is. */
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

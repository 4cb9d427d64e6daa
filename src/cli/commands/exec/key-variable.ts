import { KeyctlError } from "../../../core/model/errors.ts";
import { printable } from "../../../core/text/printable.ts";

export const DEFAULT_NAME = "OPENROUTER_API_KEY";
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * What reads a variable at the start of a program. With a key in such a variable, the program does not start, or its loader
 * complains about the value and so prints the key. Names are compared in any case: Windows and proxies ignore it.
 */
const READ_AT_START: readonly (readonly [reader: string, names: RegExp])[] = [
  [
    "the system",
    /^(?:PATH|PATHEXT|COMSPEC|SYSTEMROOT|WINDIR|HOME|USERPROFILE|SHELL|PWD|TMPDIR|TEMP|TMP|TERM|TERMINFO)$/i,
  ],
  ["the loader of programs", /^(?:LD_.*|DYLD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_.*)$/i],
  ["the C library", /^(?:LANG|LANGUAGE|LC_.*)$/i],
  ["shells", /^(?:ENV|BASH_ENV|BASHOPTS|SHELLOPTS|IFS|CDPATH|PROMPT_COMMAND|PS[0-4]|ZDOTDIR)$/i],
  ["Node", /^NODE_.*$/i],
  ["Python", /^PYTHON.*$/i],
  ["Perl", /^PERL.*$/i],
  ["Ruby", /^RUBY.*$/i],
  ["Java", /^(?:_JAVA_OPTIONS|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|JAVA_HOME|CLASSPATH)$/i],
  ["OpenSSL", /^(?:OPENSSL_.*|SSL_CERT_(?:FILE|DIR))$/i],
  ["programs that use a proxy", /^.*_proxy$/i],
];

/** The variable that holds the key. Throws USAGE. */
export function variableOf([name = DEFAULT_NAME, ...more]: readonly string[] = []): string {
  if (more.length > 0) {
    throw new KeyctlError("USAGE", "the key is put into one variable", { hint: "give --env once" });
  }
  if (!VARIABLE_NAME.test(name)) throw unusable(invalidName(name));
  const [reader] = READ_AT_START.find(([, names]) => names.test(name)) ?? [];
  if (reader === undefined) return name;
  throw unusable(`${name} is read by ${reader} at a start, which would fail or print the key`);
}

/** What stands after an = may be a secret. */
function invalidName(name: string): string {
  return name.includes("=") ? "--env takes a name without a value" : `'${printable(name)}' is no variable`;
}

function unusable(problem: string): KeyctlError {
  return new KeyctlError("USAGE", problem, { hint: `--env ${DEFAULT_NAME}` });
}

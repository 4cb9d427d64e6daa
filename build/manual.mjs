// Writes the program's command tree as a man page: roff, as groff's man macros and mandoc read it.

/**
 * @param program commander's, with every command and option
 * @param exitCodes each with its meaning
 * @param variables of the environment, each with its meaning
 */
export function manualPage(program, { exitCodes, variables }) {
  const commands = program.commands.filter((command) => command.name() !== "help");
  const lines = [
    `.TH KEYCTL 1 "" "keyctl ${program.version()}" "User Commands"`,
    ".SH NAME",
    text(`keyctl - ${lowered(program.description())}`),
    ".SH SYNOPSIS",
    `.B keyctl`,
    String.raw`\fIcommand\fR [\fIoptions\fR]`,
    ".SH DESCRIPTION",
    text(program.description()),
    ".PP",
    text(
      "The command is also installed as openrouter-keyctl, for machines that have the keyctl of the Linux keyutils.",
    ),
    ...[...new Set(commands.map((command) => command.helpGroup()))].flatMap((heading) => [
      `.SH COMMANDS: ${text(heading.replace(":", "").toUpperCase())}`,
      ...commands.flatMap((command) => (command.helpGroup() === heading ? commandLines(command) : [])),
    ]),
    ".SH OPTIONS OF EVERY COMMAND",
    ...program.options.flatMap(optionLines),
    ...tagged(String.raw`\fB\-h\fR, \fB\-\-help\fR`, "show the help"),
    ".SH EXIT STATUS",
    ...exitCodes.flatMap(([code, meaning]) => tagged(bold(code), meaning)),
    ".SH ENVIRONMENT",
    ...variables.flatMap(([name, meaning]) => tagged(bold(name), meaning)),
    ".SH FILES",
    ...tagged(bold("./key.txt"), "a user's key, where no other file is named"),
  ];
  return `${lines.join("\n")}\n`;
}

function commandLines(command) {
  const words = command.registeredArguments.map((argument) => String.raw` [\fI${text(argument.name())}\fR]`).join("");
  return [
    `.SS ${text(command.name())}`,
    String.raw`.B keyctl ${text(command.name())}${words} [\fIoptions\fR]`,
    ".PP",
    text(command.description()),
    ...optionGroups(command).flatMap(([heading, options], _, groups) => [
      ...(groups.length === 1 ? [] : [".PP", String.raw`\fI${text(heading)}\fR`]),
      ...options.flatMap(optionLines),
    ]),
    ...notesOf(command),
  ];
}

function headingOf({ helpGroupHeading }) {
  return helpGroupHeading ?? "Options:";
}

/** The options of a command under their headings, in the order of its help. */
function optionGroups(command) {
  return [...command.createHelp().groupItems(command.options, command.options, headingOf)];
}

function optionLines({ flags, description, argChoices, hidden }) {
  if (hidden) return [];
  const tag = flags.replaceAll(/(--?[\w-]+)|<(.+?)>/g, (_, name, value) =>
    name === undefined ? `\u0001I${value}\u0001R` : `\u0001B${name}\u0001R`,
  );
  const choices = argChoices === undefined ? "" : ` (${argChoices.join(", ")})`;
  return tagged(text(tag).replaceAll("\u0001", String.raw`\f`), `${description}${choices}`);
}

/** The help text below the options. */
function notesOf(command) {
  let notes = "";
  command.emit("afterHelp", { error: false, command, write: (more) => (notes += more) });
  const [prose = "", examples] = notes.trim().split(/^Examples:\n/m);
  const parts = prose.trim() === "" ? [] : [".PP", ...linesOf(prose)];
  return examples === undefined ? parts : [...parts, ".PP", "Examples:", ".PP", ".nf", ...linesOf(examples), ".fi"];
}

function linesOf(block) {
  return block
    .trimEnd()
    .split("\n")
    .map((line) => (line.trim() === "" ? ".PP" : text(line)));
}

function tagged(tag, meaning) {
  return [".TP", tag, text(meaning)];
}

function bold(words) {
  return String.raw`\fB${text(words)}\fR`;
}

function lowered(sentence) {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1).replace(/\.$/, "");
}

/** Escapes a line: nothing in it is a request or an escape, and each dash is the ASCII character. */
function text(line) {
  return line
    .replaceAll("\\", String.raw`\e`)
    .replaceAll("-", String.raw`\-`)
    .replace(/^(?=[.'])/, String.raw`\&`);
}

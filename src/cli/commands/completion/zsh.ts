import type { CommandWords, OptionWords, ProgramWords } from "./program-words.ts";

/** The script can be sourced, or stored as a file `_keyctl` in a folder of `$fpath`. */
export function zshScript({ commands, options }: ProgramWords): string {
  return `#compdef keyctl openrouter-keyctl
_keyctl() {
  local curcontext=$curcontext context state state_descr line
  typeset -A opt_args
  local -a global_options commands
  global_options=(
${options.flatMap(specsOf).map(indented).join("\n")}
  )
  commands=(
${commands
  .map(({ name, summary }) => inQuotes(`${name}:${summary}`))
  .map(indented)
  .join("\n")}
  )
  _arguments -C -s -A '-*' $global_options '1: :->command' '*:: :->rest' && return
  case $state in
    command) _describe -t commands 'command' commands ;;
    rest)
      case $line[1] in
${commands.map(commandCase).join("\n")}
      esac ;;
  esac
}

if [[ $funcstack[1] == _keyctl ]]; then
  _keyctl "$@"
else
  compdef _keyctl keyctl openrouter-keyctl
fi`;
}

function commandCase({ name, options, topics, runsCommand }: CommandWords): string {
  const rest = topics.length === 0 ? [] : [inQuotes(`1: :(${topics.join(" ")})`)];
  // -S: no options after --.
  const command = runsCommand ? [inQuotes("*:: :_normal")] : [];
  const specs = ["$global_options", ...rest, ...command, ...options.flatMap(specsOf)];
  return `        ${name})\n          _arguments -s -S ${specs.join(" \\\n            ")} ;;`;
}

/**
 * One spec for each form of the option. Each may be repeated: keyctl itself rejects repetitions that are not allowed.
 */
function specsOf({ short, long, description, value }: OptionWords): readonly string[] {
  const text = `[${description.replaceAll(/[\\[\]:]/g, String.raw`\$&`)}]${actionOf(value)}`;
  const forms = [...(short === undefined ? [] : [short]), value === undefined ? long : `${long}=`];
  return forms.map((form) => inQuotes(`*${form}${text}`));
}

function actionOf(value: OptionWords["value"]): string {
  if (value === undefined) return "";
  const action = { file: "_files", text: " ", choice: `(${value.choices.join(" ")})` }[value.kind];
  return `:${value.name.replaceAll(":", "")}:${action}`;
}

function inQuotes(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function indented(line: string): string {
  return `    ${line}`;
}

import { formsOf, withValue } from "./program-words.ts";
import type { CommandWords, OptionWords, ProgramWords } from "./program-words.ts";

/** The script for bash 3.2 (the version on macOS) and newer. It needs no other package. */
export function bashScript({ commands, options }: ProgramWords): string {
  const names = commands.map(({ name }) => name);
  return `# bash completion of keyctl
_keyctl() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command= index=1
  # bash takes --option=value for three words.
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  while (( index < COMP_CWORD )); do
    case \${COMP_WORDS[index]} in
      ${formsOf(withValue(options)).join("|")})
        [[ \${COMP_WORDS[index+1]} == = ]] && (( index += 1 ))
        (( index += 1 )) ;;
      -*) ;;
      *)
        command=\${COMP_WORDS[index]}
        break ;;
    esac
    (( index += 1 ))
  done
  local IFS=$' \\t\\n'
  COMPREPLY=()
  while (( index < COMP_CWORD )); do
    if [[ \${COMP_WORDS[index]} == -- ]]; then
      case $command in
        ${commandsOf(commands)})
          if (( index + 1 == COMP_CWORD )); then
            COMPREPLY=($(compgen -c -- "$current"))
          else
            _keyctl_files "$current"
          fi ;;
      esac
      return
    fi
    (( index += 1 ))
  done
  case "$command $previous" in
${[...options.flatMap((option) => valueCases(undefined, option)), ...commands.flatMap(casesOf)].join("\n")}
  esac
  local words
  case $command in
    "")
      words=${quoted([...names, ...formsOf(options)])} ;;
${commands.map((command) => wordsCase(command, options)).join("\n")}
    *) return ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}

_keyctl_files() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen -f -- "$1"))
}

complete -F _keyctl keyctl openrouter-keyctl`;
}

/** A pattern. */
function commandsOf(commands: readonly CommandWords[]): string {
  return commands
    .filter(({ runsCommand }) => runsCommand)
    .map(({ name }) => name)
    .join("|");
}

function casesOf({ name, options }: CommandWords): readonly string[] {
  return options.flatMap((option) => valueCases(name, option));
}

/** The cases that complete the value of an option: of this command, or of every command if `command` is undefined. */
function valueCases(command: string | undefined, option: OptionWords): readonly string[] {
  const { value } = option;
  if (value === undefined) return [];
  const patterns = formsOf([option]).map((form) => (command === undefined ? `*" ${form}"` : `"${command} ${form}"`));
  return [`    ${patterns.join("|")})\n      ${replyOf(value)}return ;;`];
}

function replyOf({ kind, choices }: NonNullable<OptionWords["value"]>): string {
  if (kind === "file") return `_keyctl_files "$current"; `;
  return kind === "choice" ? `COMPREPLY=($(compgen -W ${quoted(choices)} -- "$current")); ` : "";
}

function wordsCase({ name, options, topics }: CommandWords, globals: readonly OptionWords[]): string {
  return `    ${name})\n      words=${quoted([...topics, ...formsOf([...options, ...globals])])} ;;`;
}

function quoted(words: readonly string[]): string {
  return `"${words.join(" ")}"`;
}

import { formsOf, withValue } from "./program-words.ts";
import type { CommandWords, OptionWords, ProgramWords } from "./program-words.ts";

export function fishScript({ commands, options }: ProgramWords): string {
  return `# fish completion of keyctl
function __keyctl_command
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case ${formsOf(withValue(options)).join(" ")}
                set -e words[1]
            case '-*'
            case '*'
                echo $words[1]
                return
        end
        set -e words[1]
    end
end

function __keyctl_has_dashes
    set -l words (commandline -opc)
    contains -- -- $words
end

# The words after -- are completed as a command line of their own.
function __keyctl_rest
    set -l words (commandline -opc) (commandline -ct)
    while test "$words[1]" != --
        set -e words[1]
    end
    set -e words[1]
    complete -C "$(string escape -- $words[1..-2] | string join ' ') $words[-1]"
end

function __keyctl_is
    __keyctl_has_dashes; and return 1
    set -l command (__keyctl_command)
    test "$command" = "$argv[1]"
end

complete -c keyctl -f
complete -c openrouter-keyctl -w keyctl
${[
  ...options.map((option) => lineOf(" -n 'not __keyctl_has_dashes'", option)),
  `complete -c keyctl -n '__keyctl_has_dashes; and contains (__keyctl_command) ${commandsOf(commands)}' -xa '(__keyctl_rest)'`,
  ...commands.map(({ name, summary }) => `complete -c keyctl -n '__keyctl_is ""' -a ${name} -d ${inQuotes(summary)}`),
  ...commands.flatMap(linesOf),
].join("\n")}`;
}

function commandsOf(commands: readonly CommandWords[]): string {
  return commands
    .filter(({ runsCommand }) => runsCommand)
    .map(({ name }) => name)
    .join(" ");
}

function linesOf({ name, options, topics }: CommandWords): readonly string[] {
  const condition = ` -n '__keyctl_is ${name}'`;
  const rest = topics.length === 0 ? [] : [`complete -c keyctl${condition} -a ${inQuotes(topics.join(" "))}`];
  return [...rest, ...options.map((option) => lineOf(condition, option))];
}

function lineOf(condition: string, { short, long, description, value }: OptionWords): string {
  const forms = `${short === undefined ? "" : ` -s ${short.slice(1)}`} -l ${long.slice(2)}`;
  return `complete -c keyctl${condition}${forms}${argumentOf(value)} -d ${inQuotes(description)}`;
}

function argumentOf(value: OptionWords["value"]): string {
  if (value === undefined) return "";
  return { file: " -r -F", text: " -x", choice: ` -x -a ${inQuotes(value.choices.join(" "))}` }[value.kind];
}

function inQuotes(text: string): string {
  return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
}

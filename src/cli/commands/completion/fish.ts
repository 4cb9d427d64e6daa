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

function __keyctl_is
    set -l command (__keyctl_command)
    test "$command" = "$argv[1]"
end

complete -c keyctl -f
complete -c openrouter-keyctl -w keyctl
${[
  ...options.map((option) => lineOf("", option)),
  ...commands.map(({ name, summary }) => `complete -c keyctl -n '__keyctl_is ""' -a ${name} -d ${inQuotes(summary)}`),
  ...commands.flatMap(linesOf),
].join("\n")}`;
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

import { formsOf, withValue } from "./program-words.ts";
import type { OptionWords, ProgramWords } from "./program-words.ts";

/** The script for Windows PowerShell 5.1 and newer. */
export function powershellScript({ commands, options }: ProgramWords): string {
  const rows = commands.map(
    (command) =>
      `    ${inQuotes(command.name)} = ${listOf([...command.topics, ...formsOf([...command.options, ...options])])}`,
  );
  const values = [
    ...options.flatMap((option) => valueRows("", option)),
    ...commands.flatMap(({ name, options: own }) => own.flatMap((option) => valueRows(name, option))),
  ];
  return `# PowerShell completion of keyctl
Register-ArgumentCompleter -Native -CommandName keyctl, openrouter-keyctl -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $none = ${listOf([...commands.map(({ name }) => name), ...formsOf(options)])}
  $words = @{
${rows.join("\n")}
  }
  # What may stand behind an option; nothing where any text may.
  $values = @{
${values.join("\n")}
  }
  $takeValue = ${listOf(formsOf(withValue(options)))}
  $before = @($commandAst.CommandElements |
    Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
    Select-Object -Skip 1 |
    ForEach-Object { $_.ToString() })
  $command = ''
  for ($index = 0; $index -lt $before.Count; $index += 1) {
    if ($takeValue -ccontains $before[$index]) { $index += 1 }
    elseif (-not $before[$index].StartsWith('-')) { $command = $before[$index]; break }
  }
  # The words after -- are another program's; PowerShell completes the names of files.
  if ($before -ccontains '--') { return }
  $previous = if ($before.Count -gt 0) { $before[-1] } else { '' }
  $key = @("$command $previous", " $previous") | Where-Object { $values.ContainsKey($_) } | Select-Object -First 1
  if ($key) {
    # Without a result, PowerShell completes the names of files.
    $candidates = $values[$key]
  } elseif ($command -eq '') {
    $candidates = $none
  } else {
    $candidates = $words[$command]
  }
  $candidates | Where-Object { $_ -and $_.StartsWith($wordToComplete) } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }
}`;
}

function valueRows(command: string, option: OptionWords): readonly string[] {
  const { value } = option;
  if (value === undefined) return [];
  return formsOf([option]).map((form) => `    ${inQuotes(`${command} ${form}`)} = ${listOf(value.choices)}`);
}

function listOf(words: readonly string[]): string {
  return `@(${words.map(inQuotes).join(", ")})`;
}

function inQuotes(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

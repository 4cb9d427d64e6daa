import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import type { TestContext } from "vitest";
import { onlyIn } from "./keyctl.ts";
import type { Home } from "../home/home.ts";

/** Skips a test on a machine without this program, and reports that. */
export function needs(program: string, { skip }: TestContext): void {
  if (spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0) skip(`${program} is not installed`);
}

/** The words that a shell with this completion script offers at the end of this line. */
export type Completes = (home: Home, script: string, line: string) => Promise<readonly string[]>;

async function said(home: Home, [program = "", ...words]: readonly string[]): Promise<readonly string[]> {
  const { stdout, stderr } = await execa(program, words, { ...onlyIn(home, {}), timeout: 30_000 });
  const problems = String(stderr).trim();
  if (problems !== "") throw new Error(problems);
  return String(stdout)
    .split("\n")
    .filter((text) => text !== "");
}

/** The line split as bash splits it: a `=` is a word of its own. */
function bashWords(line: string): readonly string[] {
  return line
    .split(" ")
    .flatMap((word) => word.split(/(=)/).filter((part, at, all) => part !== "" || at === all.length - 1));
}

const BASH = `source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
_keyctl
printf '%s\\n' "\${COMPREPLY[@]}"`;

export const inBash: Completes = async (home, script, line) => {
  const file = written(home, "keyctl.bash", script);
  return said(home, ["bash", "--norc", "--noprofile", "-c", BASH, "bash", file, ...bashWords(line)]);
};

/** Records every word that zsh offers. A key with no other binding marks the end of the offer. */
const ZSH_INSIDE = `compadd() {
  if [[ " \${@[1,(i)(-|--)]} " == *' -'(O|A|D)' '* ]]; then
    builtin compadd "$@"
    return
  fi
  local -a hits
  builtin compadd -A hits "$@"
  print -rl -- $hits >> ~/offered
  builtin compadd "$@"
}
finish() { print DO''NE }
zle -N finish
bindkey '^I' complete-word
bindkey '^X' finish
: > ~/offered
print REA''DY
`;
const ZSH_OUTSIDE = `zmodload zsh/zpty
zpty keys zsh -f -i
zpty -w keys "PS1=; autoload -Uz compinit; compinit -u -d ~/zcompdump; source ~/keyctl.zsh; source ~/inside.zsh"
zpty -r keys seen '*READY*'
zpty -n -w keys "$1"$'\\t\\x18'
zpty -r keys seen '*DONE*'
zpty -d keys
cat ~/offered`;

export const inZsh: Completes = async (home, script, line) => {
  rmSync(join(home.folder, "offered"), { force: true });
  written(home, "keyctl.zsh", script);
  written(home, "inside.zsh", ZSH_INSIDE);
  return (await said(home, ["zsh", "-f", "-c", ZSH_OUTSIDE, "zsh", line])).map((text) => text.trim());
};

export const inFish: Completes = async (home, script, line) => {
  const file = written(home, "keyctl.fish", script);
  const offered = await said(home, ["fish", "--no-config", "-c", `source ${file}; complete -C $argv[1]`, line]);
  // After a tab comes the description, and after `--option=` the option itself is repeated.
  return offered.map((text) => (text.split("\t")[0] ?? "").replace(/^--[\w-]+=/, ""));
};

function written(home: Home, name: string, text: string): string {
  const path = join(home.folder, name);
  writeFileSync(path, text);
  return path;
}

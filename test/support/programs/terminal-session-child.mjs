// Runs a program on its own terminal, survives every signal of the terminal, and reports on descriptor 3: first the
// process id and the terminal of the program, at its end its exit and the modes of the terminal.
//   node terminal-session-child.mjs <file for stdout, or -> <rows> <columns> <program> <words>…
import { execFileSync, spawn } from "node:child_process";
import { openSync, readlinkSync, writeSync } from "node:fs";

const [stdout, rows, columns, program, ...words] = process.argv.slice(2);
const tell = (news) => writeSync(3, `${JSON.stringify(news)}\n`);
// A late Ctrl-C is meant for the program, not for `stty`.
const stty = (settings) =>
  execFileSync("/bin/sh", ["-c", `trap '' INT QUIT TERM HUP; exec stty ${settings}`], {
    stdio: ["inherit", "pipe", "ignore"],
  }).toString();

for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGTSTP"]) process.on(signal, () => {});
stty(`rows ${rows} cols ${columns}`);
const out = stdout === "-" ? "inherit" : openSync(stdout, "w", 0o600);
const child = spawn(program, words, { stdio: ["inherit", out, "inherit"] });
// A closed terminal sends SIGHUP only to its shell, and the shell passes it on to its jobs.
process.on("SIGHUP", () => child.kill("SIGHUP"));
tell({ pid: child.pid, terminal: readlinkSync("/proc/self/fd/0") });
child.on("exit", (code, signal) => {
  tell({ code, signal, modes: modesOf() });
  // At its exit Node sets the modes of the terminal, and aborts if the terminal was closed.
  process.kill(process.pid, "SIGKILL");
});

/** A late Ctrl-C may end the shell before it sets its trap, so a single failure proves nothing. */
function modesOf() {
  for (let tries = 0; tries < 3; tries += 1) {
    try {
      return stty("-a");
    } catch {
      // If every try fails, the terminal was closed.
    }
  }
  return null;
}

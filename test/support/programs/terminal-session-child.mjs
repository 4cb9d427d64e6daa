// Runs a program on the terminal that this one is on, survives whatever the terminal sends, and tells on descriptor 3
// what became of the program: first its process and its terminal, in the end how it ended and how it leaves the terminal.
//   node terminal-session-child.mjs <file for stdout, or -> <rows> <columns> <program> <words>…
import { execFileSync, spawn } from "node:child_process";
import { openSync, readlinkSync, writeSync } from "node:fs";

const [stdout, rows, columns, program, ...words] = process.argv.slice(2);
const tell = (news) => writeSync(3, `${JSON.stringify(news)}\n`);
// A Ctrl-C that comes late is for the program, and not for this one.
const stty = (settings) =>
  execFileSync("/bin/sh", ["-c", `trap '' INT QUIT TERM HUP; exec stty ${settings}`], {
    stdio: ["inherit", "pipe", "ignore"],
  }).toString();

for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGTSTP"]) process.on(signal, () => {});
stty(`rows ${rows} cols ${columns}`);
const out = stdout === "-" ? "inherit" : openSync(stdout, "w", 0o600);
const child = spawn(program, words, { stdio: ["inherit", out, "inherit"] });
// A terminal that is closed tells its shell alone, and that tells its jobs.
process.on("SIGHUP", () => child.kill("SIGHUP"));
tell({ pid: child.pid, terminal: readlinkSync("/proc/self/fd/0") });
child.on("exit", (code, signal) => {
  tell({ code, signal, modes: modesOf() });
  // Node sets the modes of a terminal at its exit, and aborts where it is gone.
  process.kill(process.pid, "SIGKILL");
});

/** A late Ctrl-C may end the shell before it has set its trap, so that one failure says nothing. */
function modesOf() {
  for (let tries = 0; tries < 3; tries += 1) {
    try {
      return stty("-a");
    } catch {
      // The terminal is gone if it fails again.
    }
  }
  return null;
}

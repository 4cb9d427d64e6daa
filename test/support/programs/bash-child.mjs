// An interactive bash without anybody's settings, which has job control.
import { spawn } from "node:child_process";

for (const signal of ["SIGINT", "SIGQUIT", "SIGTSTP", "SIGTTOU"]) process.on(signal, () => {});
const bash = spawn("bash", ["--norc", "--noprofile", "--noediting", "-i"], { stdio: "inherit" });
bash.on("exit", (code) => process.exit(code ?? 1));

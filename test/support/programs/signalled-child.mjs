// Says which signals it gets, and ends with the code that it reads.
//   node signalled-child.mjs [<signal to ignore>…]
const ignored = new Set(process.argv.slice(2));
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"];
for (const signal of SIGNALS) process.on(signal, () => ignored.has(signal) || console.log(`got ${signal};`));
process.on("SIGCONT", () => console.log("continued;"));
process.stdin.on("data", (chunk) => {
  const code = /end (\d+)/.exec(chunk.toString())?.[1];
  if (code !== undefined) process.exit(Number(code));
});
console.log(`ready ${process.pid};`);

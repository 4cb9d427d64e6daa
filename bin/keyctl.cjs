#!/usr/bin/env node
"use strict";

const NEEDED = ["../dist/tool/main.cjs", "../dist/tool/cli-terminal-hide-input.cjs"];

async function run() {
  // A run that ends without a word from main has failed.
  process.exitCode = 1;
  if (!NEEDED.every(isThere)) return sayWhatIsMissing();
  const { hideInput } = require("../dist/tool/cli-terminal-hide-input.cjs");
  const showInput = hideInput(process.argv.slice(2), process.env);
  const { main, thisProcess } = require("../dist/tool/main.cjs");
  // Not by itself: while Node takes itself down, a signal would end it in another way than the last document says.
  process.exit(await main(thisProcess(showInput)));
}

function isThere(path) {
  try {
    return require.resolve(path) !== "";
  } catch {
    return false;
  }
}

function sayWhatIsMissing() {
  const root = `'${__dirname.replace(/[/\\]bin$/, "").replaceAll("'", "'\\''")}'`;
  // Only a clone has the program's sources; installing in it also builds.
  const way = isThere("../build.mjs") ? `npm --prefix ${root} ci` : "install keyctl again";
  process.stderr.write(`error: this installation of keyctl is incomplete: ${root} has no dist/\nhint: ${way}\n`);
}

void run();

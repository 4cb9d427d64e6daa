#!/usr/bin/env node
"use strict";

const { hideInput } = require("../dist/tool/cli-terminal-hide-input.cjs");
const showInput = hideInput(process.argv.slice(2), process.env);
const { main, thisProcess } = require("../dist/tool/main.cjs");

async function run() {
  // A run that ends without a word from main has failed.
  process.exitCode = 1;
  // Not by itself: while Node takes itself down, a signal would end it in another way than the last document says.
  process.exit(await main(thisProcess(showInput)));
}

void run();

#!/usr/bin/env node
"use strict";

const { load } = require("../dist/tool/load.cjs");

async function run() {
  // A run that ends without a word from main has failed.
  process.exitCode = 1;
  // Not by itself: while Node takes itself down, a signal would end it in another way than the last document says.
  process.exit(await load("main").main());
}

void run();

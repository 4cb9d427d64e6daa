#!/usr/bin/env node
"use strict";

const { main } = require("../dist/tool/main.cjs");

async function run() {
  // A run that ends without a word from main has failed.
  process.exitCode = 1;
  // Not by itself: while Node takes itself down, a signal would end it in another way than the last document says.
  process.exit(await main());
}

void run();

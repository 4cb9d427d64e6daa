#!/usr/bin/env node
"use strict";

async function run() {
  process.exitCode = await require("../dist/tool/main.cjs").main();
}

void run();

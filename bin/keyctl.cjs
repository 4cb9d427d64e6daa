#!/usr/bin/env node
"use strict";

const { load } = require("../dist/tool/load.cjs");

async function run() {
  process.exitCode = await load("main").main();
}

void run();

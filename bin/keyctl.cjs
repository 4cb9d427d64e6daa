#!/usr/bin/env node
"use strict";

const { main } = require("../dist/tool/main.cjs");

async function run() {
  process.exitCode = await main();
}

void run();

import { MongoClient } from "mongodb";
import type { TestProject } from "vitest/node";
import { findProgram, startServer } from "./server.ts";
import type { ServerProgram } from "./server.ts";

/** The server that all tests of a run share, and the program for the servers that a test may kill. */
export interface Mongodb {
  readonly uri: string;
  readonly kind: ServerProgram["kind"] | "given";
  readonly program: ServerProgram | null;
}

declare module "vitest" {
  export interface ProvidedContext {
    /** Null if this machine has no MongoDB server. */
    readonly mongodb: Mongodb | null;
  }
}

const GIVEN = "KEYCTL_TEST_MONGODB_URI";
const NONE = [
  "no MongoDB server was found.",
  "Give one with mongod on PATH, `npm run build:ferretdb` (needs Go), KEYCTL_TEST_MONGODB_DOWNLOAD=1,",
  `or the URI of one that runs in ${GIVEN}`,
].join(" ");
const NO_PROGRAM = `${GIVEN} names the server, and there is no program to start others: tests that kill one are SKIPPED`;

/** Vitest's global set-up: starts one server for the whole run, and stops it at the end. */
export default async function setUp({ provide }: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env[GIVEN];
  const program = await findProgram(process.env);
  if (given !== undefined) {
    await mustAnswer(given);
    if (program === undefined) say(NO_PROGRAM);
    provide("mongodb", { uri: given, kind: "given", program: program ?? null });
    return undefined;
  }
  if (program === undefined) {
    if (process.env["KEYCTL_REQUIRE_MONGODB"] === "1") throw new Error(`KEYCTL_REQUIRE_MONGODB=1, but ${NONE}`);
    say(`the MongoDB tests are SKIPPED: ${NONE}`);
    provide("mongodb", null);
    return undefined;
  }
  const server = await startServer(program);
  provide("mongodb", { uri: server.uri, kind: server.kind, program });
  return server.remove;
}

/** Hides the driver's error: the URI may hold a password, and the driver's messages may hold parts of the URI. */
async function mustAnswer(uri: string): Promise<void> {
  try {
    const client = new MongoClient(uri, { serverSelectionTimeoutMS: 5_000 });
    await client.db("admin").command({ ping: 1 });
    await client.close();
  } catch {
    throw new Error(`the server that ${GIVEN} names does not answer`);
  }
}

function say(sentence: string): void {
  process.stderr.write(`\n!!! ${sentence}\n\n`);
}

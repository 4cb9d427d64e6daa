import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { compile, shipped } from "../support/programs/installed-library.ts";

/** Uses each part of the library's face, and says which types it has. */
const PROGRAM = `
import { ApiKey, getUserApiKey, KeyctlError, KeyManager, syncUserApiKey } from "keyctl";
import type {
  BulkOptions, CallOptions, ErrorCode, KeyRecord, LogEvent, OpenOptions, PurgeOptions, Revoke, SyncResult, UserBatches, ValidationRun,
} from "keyctl";

const options: OpenOptions = { store: "sqlite:a.db", create: true, log: (event: LogEvent) => void event.kind, timeoutMs: 3000 };
const keys: KeyManager = await KeyManager.open(options);
const controller = new AbortController();
const call: CallOptions = { timeoutMs: 1500, signal: controller.signal };
const result: SyncResult = await keys.syncAndGetKey("alice", { ...call, autoProvision: false });
if (result.error === null) result.key.reveal().startsWith("sk-or-");
else { const code: ErrorCode = result.error.code; void code; }
const revoke: Revoke = "ours";
const purge: PurgeOptions = { revoke, onlyHash: null };
await keys.purge("alice", purge);
for await (const row of keys.rows(call)) { const record: KeyRecord = row; void record.generation; }
declare const place: string | undefined;
async function* batches() { yield ["alice", "bob"]; }
const listed: UserBatches = batches();
for await (const results of (await keys.validateMany()).results(batches())) void results;
for await (const results of keys.syncMany(listed)) void results;
for await (const results of keys.purgeMany(batches())) void results;
for await (const results of keys.rotateMany(batches(), { graceMs: undefined, limit: undefined, wait: undefined })) void results;
await KeyManager.open({ store: place, keyFile: undefined, log: undefined, actor: { osUser: undefined } });
await keys.autoProvisionKey("alice", { terms: { label: undefined, expiresAt: undefined } });
keys.rekey({ kind: undefined, dryRun: undefined });
const run: ValidationRun = await keys.validateMany({ concurrency: 5, stop: controller.signal });
const bulk: BulkOptions = { provision: false, reach: "stored" };
void [run, bulk, await syncUserApiKey("bob")];
const text: string | null = await getUserApiKey("alice");
const key = ApiKey.parse(text ?? "");
// @ts-expect-error A manager is opened, and not made.
new KeyManager();
// @ts-expect-error It is no option.
await keys.syncAndGetKey("alice", { timeout: 5 });
// @ts-expect-error It is another kind of value.
await keys.syncAndGetKey("alice", { timeoutMs: "5s" });
// @ts-expect-error It is not a part of what is promised.
keys.context;
try { await keys.close(); } catch (thrown) { if (thrown instanceof KeyctlError) void [thrown.hint, key?.masked]; }
export {};
`;
const LIBRARIES = {
  "@types/node alone": "--lib es2022 --types node",
  "lib DOM alone": "--lib es2022,dom --types keyctl",
};
const MODULES = {
  node16: "--module node16",
  nodenext: "--module nodenext",
  bundler: "--module esnext --moduleResolution bundler",
};

describe("the declarations", () => {
  it.each(
    Object.keys(MODULES).flatMap((module) => Object.keys(LIBRARIES).map((library) => [module, library] as const)),
  )("compile in a strict program under %s with %s", async (module, library) => {
    const options = [MODULES[module as keyof typeof MODULES], LIBRARIES[library as keyof typeof LIBRARIES]];
    expect(await compile(emptyHome(), { "program.mts": PROGRAM }, options.join(" "))).toBe("");
  });

  it("compile in a CommonJS program, whose require() gives what an import gives", async () => {
    const source = `import { KeyManager } from "keyctl";
      import keyctl = require("keyctl");
      export const open: typeof KeyManager.open = keyctl.KeyManager.open;`;
    expect(await compile(emptyHome(), { "program.cts": source }, "--module nodenext --types node")).toBe("");
  });

  it("show nothing that cannot be imported but the class and the brand of a user id, and let every option be undefined", () => {
    const path = join(shipped().project, "node_modules", "keyctl", "dist", "types", "index.d.ts");
    const text = readFileSync(path, "utf8");
    const declared = (prefix: string) =>
      Array.from(
        text.matchAll(new RegExp(`^${prefix}(?:declare )?(?:class|const|function|interface|type) (\\w+)`, "gm")),
        ([, name]) => name,
      );
    expect(declared("export ").length).toBeGreaterThan(60);
    expect(declared("").map(String).toSorted()).toEqual(["Manager", "brand"]);
    const optional = Array.from(
      text.matchAll(/^export (?:interface|type) (\w+(?:Options|Query|Entry))\b[^]*?^\}/gm),
      ([body, name]) => Array.from(body.matchAll(/readonly (\w+)\?: (.*);/g), ([, field, type]) => [name, field, type]),
    ).flat();
    expect(optional.length).toBeGreaterThan(50);
    expect(optional.filter(([, , type]) => type?.endsWith("| undefined") !== true)).toEqual([]);
    expect(text).not.toMatch(/Context\b|@internal|^import\b|\bimport\(/m);
  });
});

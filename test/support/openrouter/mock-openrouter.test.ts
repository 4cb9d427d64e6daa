import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import { emptyHome } from "../home/home.ts";
import { inProcess } from "../programs/in-process.ts";
import { REFUSAL_NAMES } from "./chat-refusals.ts";
import { CONTROLS } from "./control.ts";
import { FAULT_NAMES } from "./faults.ts";
import { ROUTES } from "./routes.ts";

const PROGRAM = fileURLToPath(new URL("./mock-openrouter.mjs", import.meta.url));

function started(...words: readonly string[]) {
  return execa(process.execPath, [PROGRAM, ...words], { reject: false });
}

describe("npm run mock-openrouter", () => {
  it("prints two variables with which keyctl works at once, and ends with Ctrl-C", async () => {
    const server = started("--port", "0");
    onTestFinished(() => void server.kill("SIGKILL"));
    let printed = "";
    server.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    while (!/^export OPENROUTER_PROVISIONING_KEY=.*\n/m.test(printed)) await once(server.stdout, "data");
    const env = Object.fromEntries(
      Array.from(printed.matchAll(/^export (\w+)=(.*)$/gm), ([, n = "", v = ""]) => [n, v]),
    );
    const run = await inProcess(emptyHome(), ["sync", "--user", "alice"], { env });
    expect([run.code, run.stdout]).toEqual([0, expect.stringContaining("(source: auto-provisioned)")]);
    server.kill("SIGINT");
    expect(await server).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining("POST /keys -> 201 (management)"),
    });
  });

  it("says in one line that its port is in use, and what to type instead", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void other.close());
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    expect(await started("--port", String(port))).toMatchObject({
      exitCode: 1,
      stdout: "",
      stderr: `error: port ${port} is in use; choose another: npm run mock-openrouter -- --port 0`,
    });
  });

  it.each(["--help", "-h"])("lists every option and fault with %s, and starts nothing", async (word) => {
    const { exitCode, stdout, stderr } = await started(word);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const options = ["--port", "--latency", "--new-keys-refused", "--gone-keys-accepted", "--fault", "--help"];
    const named = [...options, ...FAULT_NAMES, ...REFUSAL_NAMES, ...Object.keys(CONTROLS)];
    expect(named.filter((name) => !stdout.split(/[\s,]+/).includes(name))).toEqual([]);
    expect(ROUTES.filter((route) => !stdout.split("\n").includes(`  ${route}`))).toEqual([]);
    expect(stdout.split("\n").filter((line) => line.length > 84)).toEqual([]);
  });

  it.each([
    [["--prot", "1"], "Unknown option '--prot'; see npm run mock-openrouter -- --help"],
    [["8400"], "Unexpected argument '8400'; see npm run mock-openrouter -- --help"],
    [["--port", "65536"], "invalid value '65536' for --port: a number from 0 to 65535"],
    [["--latency", "soon"], "invalid value 'soon' for --latency: a duration such as 500ms or 5s"],
    [["--fault", "POST /keys"], "invalid value 'POST /keys' for --fault; see npm run mock-openrouter -- --help"],
    [["--fault", "POST /key all 500"], "unknown route 'POST /key'; see npm run mock-openrouter -- --help"],
    [["--fault", "GET /key 1 provider-key"], "unknown fault 'provider-key'; see npm run mock-openrouter -- --help"],
    [["--fault", "POST /keys 1 bad"], "unknown fault 'bad'; see npm run mock-openrouter -- --help"],
  ])("refuses %j in one line", async (words, problem) => {
    expect(await started(...words)).toMatchObject({ exitCode: 2, stdout: "", stderr: `error: ${problem}` });
  });
});

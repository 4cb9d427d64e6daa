import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { newJwk } from "../support/fixtures/jwk.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { masterKeysInUse } from "../support/fixtures/stored-rows.ts";
import { treeOf } from "../support/home/tree.ts";
import { SECRET_VARIABLES } from "../../src/core/model/redact-keys.ts";

const KEY = "sk-or-v1-0000000000000000000000000000000000000000000000000000000000b465";
const NOBODYS = KEY.replace("b465", "3a3a");
const SYNC = ["sync", "--user", "alice"];
const master = newJwk();

/** The environment that names this command, and a key to be sealed. */
function naming(command: string) {
  return { OPENROUTER_API_KEY: KEY, KEYCTL_MASTER_KEYS_COMMAND: command };
}

/** A place that processes hold on to: each is a connection that closes when its process ends, however it ends. */
async function vigil() {
  const server = createServer().listen(0, "127.0.0.1");
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const watch = `require("node:net").connect(${port}, "127.0.0.1").on("close", () => process.exit())`;
  return {
    /** A shell command of a process that ends only when it is killed, or when the test ends. */
    command: `"${process.execPath}" -e '${watch}'`,
    joined: async () => (await once(server, "connection"))[0] as Socket,
    sockets,
  };
}

async function ended(socket: Socket): Promise<void> {
  if (!socket.destroyed) await once(socket.resume(), "close");
}

describe("a command that prints master keys", () => {
  it.each([
    ["a pipeline", `printf '%s' '${master.k}' | cat`],
    ["a bare key and a line end", `echo ${master.k}`],
    ["a Windows line end", `printf '%s\\r\\n' ${master.k}`],
    ["words on standard error", `echo unlocking... >&2; echo ${master.k}`],
    ["a question that gets no answer", `read answer; echo ${master.k}`],
  ])("may print %s", async (_, command) => {
    const home = emptyHome();
    const run = await keyctl(home, SYNC, { env: naming(command), input: "an answer\n" });
    expect(run).toMatchObject({ code: 0, stderr: run.log });
    expect(await masterKeysInUse(home)).toStrictEqual([master.kid]);
  });

  const HINT = "hint: run it by hand to see what it says; it must print a JWK Set or one base64url key\n";
  it.each([
    ["fails", "echo SECRET-ON-STDERR >&2; exit 3", `ended with exit code 3\n${HINT}`],
    ["prints keys and fails", `echo ${master.k}; exit 1`, `ended with exit code 1\n${HINT}`],
    ["is not there", "no-such-vault-command", `ended with exit code 127\n${HINT}`],
    ["is killed", "kill -9 $$", `could not be run to its end\n${HINT}`],
    ["prints without end", "yes", `printed more than 64 KiB\n${HINT}`],
    ["prints a key and too much", `echo ${master.k}; head -c 65536 /dev/zero`, `printed more than 64 KiB\n${HINT}`],
  ])("is refused when it %s", async (_, command, problem) => {
    const home = emptyHome();
    const run = await keyctl(home, SYNC, { env: naming(command) });
    expect(run.code).toBe(4);
    expect(run.stderr).toContain(`error: the command in KEYCTL_MASTER_KEYS_COMMAND ${problem}`);
    expect(run.stdout + run.stderr).not.toContain(master.k);
    expect(run.stdout + run.stderr).not.toContain("SECRET-ON-STDERR");
  });

  it.each([
    ["nothing", "true"],
    ["no key", "echo SECRET-ON-STDOUT"],
    ["bytes that are no text", "head -c 32 /dev/urandom"],
  ])("is refused when it prints %s", async (_, command) => {
    const home = emptyHome();
    const run = await keyctl(home, SYNC, { env: naming(command) });
    expect(run.code).toBe(4);
    expect(run.stderr).toContain("error: KEYCTL_MASTER_KEYS_COMMAND does not hold 32 bytes in base64url\n");
    expect(run.stderr).not.toContain("SECRET-ON-STDOUT");
  });

  it("sees none of our secrets in its environment, and the rest of it", async () => {
    const home = emptyHome();
    writeFileSync(join(home.folder, "vault"), master.k);
    const secrets = SECRET_VARIABLES.filter((name) => name !== "KEYCTL_MASTER_KEYS");
    const env = {
      ...Object.fromEntries(secrets.map((name) => [name, name === "OPENROUTER_API_KEY" ? KEY : NOBODYS])),
      KEYCTL_STORE: `sqlite:${home.database}`,
      KEYCTL_CREATE_STORE: "1",
      VAULT_ADDR: "https://vault.example",
      KEYCTL_MASTER_KEYS_COMMAND: 'env > "$HOME/seen"; cat "$HOME/vault"',
    };
    expect(await keyctl(home, SYNC, { env })).toMatchObject({ code: 0 });
    const seen = readFileSync(join(home.folder, "seen"), "utf8");
    expect(seen).toContain("VAULT_ADDR=https://vault.example\n");
    expect(seen).not.toContain(KEY);
    expect(seen).not.toContain(NOBODYS);
    for (const name of SECRET_VARIABLES) expect(seen).not.toMatch(new RegExp(`^${name}=`, "m"));
  });

  it("is run once for all users of a bulk run", async () => {
    const home = emptyHome();
    const env = naming(`echo run >> "$HOME/runs"; echo ${master.k}`);
    const users = Array.from({ length: 50 }, (_, index) => `user${index}`).join("\n");
    for (let runs = 1; runs <= 2; runs += 1) {
      const run = await keyctl(home, ["sync", "--users-file", "-", "--json"], { env, input: users });
      expect(run).toMatchObject({ code: 0, stderr: "" });
      expect(readFileSync(join(home.folder, "runs"), "utf8")).toBe("run\n".repeat(runs));
    }
  });

  it("may leave a process behind that has let go of its output, and is not waited for", async () => {
    const home = emptyHome();
    const { command, joined, sockets } = await vigil();
    const agent = joined();
    const run = keyctl(home, SYNC, { env: naming(`${command} > "$HOME/agent.log" & echo ${master.k}`) });
    await agent;
    expect(await run).toMatchObject({ code: 0 });
    expect([...sockets].map((socket) => socket.destroyed)).toStrictEqual([false]);
  });

  it("has 10 s, and then nothing of it is left", async () => {
    const commands = [
      (hanging: string) => hanging,
      (hanging: string) => `trap '' TERM INT HUP; ${hanging}; ${hanging}`,
      (hanging: string) => `${hanging} & echo ${master.k}`,
      (hanging: string) => `yes '' | head -c 1000; (${hanging} & wait) & wait`,
    ];
    await Promise.all(
      commands.map(async (commandOf) => {
        const home = emptyHome();
        const { command, joined } = await vigil();
        const hanging = joined();
        const run = await keyctl(home, SYNC, { env: naming(commandOf(command)) });
        expect(run.code).toBe(4);
        expect(run.stderr).toContain("error: the command in KEYCTL_MASTER_KEYS_COMMAND did not end within 10 s\n");
        await ended(await hanging);
      }),
    );
  });

  it.each(["SIGINT", "SIGTERM"] as const)("ends with us at %s, and nothing is stored", async (signal) => {
    const home = emptyHome();
    const { command, joined } = await vigil();
    const hanging = joined();
    const run = execa(process.execPath, [BIN, ...SYNC], {
      cwd: home.work,
      env: { ...home.environment, ...naming(command) },
      extendEnv: false,
      reject: false,
    });
    const socket = await hanging;
    run.kill(signal);
    const { exitCode, stderr } = await run;
    expect(exitCode).toBe(signal === "SIGINT" ? 130 : 143);
    expect(stderr).toContain(`error: interrupted by ${signal}`);
    await ended(socket);
    expect(treeOf(home.folder).filter((line) => line.includes("config"))).toStrictEqual([]);
  });
});

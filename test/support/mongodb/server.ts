import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { tmpdir } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** A server program of this machine. FerretDB supports no passwords, and its changes of one row are not atomic. */
export interface ServerProgram {
  readonly kind: "mongod" | "ferretdb";
  readonly path: string;
}

/** PEM files of a certificate and its private key. */
export interface Tls {
  readonly certificate: string;
  readonly key: string;
}

/** A server of one test, on loopback, without authentication. */
export interface MongodbServer {
  readonly kind: ServerProgram["kind"];
  /** The URI without a database; `uriOf` adds one. */
  readonly uri: string;
  readonly port: number;
  readonly folder: string;
  readonly pid: () => number | undefined;
  /** Sends SIGKILL: the server stops at once and writes nothing more. The data stays for `restart`. */
  readonly kill: () => Promise<void>;
  /** Starts the server again with the same data on the same port. */
  readonly restart: () => Promise<void>;
  /** Kills the server and removes its data. */
  readonly remove: () => Promise<void>;
}

const FERRETDB = fileURLToPath(new URL("../ferretdb/ferretdb", import.meta.url));
const START_MS = 30_000;
const START_ATTEMPTS = 3;

/**
 * The first of: `mongod` on PATH, the FerretDB that `npm run build:ferretdb` builds, a download if it was requested.
 */
export async function findProgram(environment: NodeJS.ProcessEnv): Promise<ServerProgram | undefined> {
  const mongod = (environment["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "mongod"));
  const path = mongod.find(isExecutable);
  if (path !== undefined) return { kind: "mongod", path };
  if (isExecutable(FERRETDB)) return { kind: "ferretdb", path: FERRETDB };
  if (environment["KEYCTL_TEST_MONGODB_DOWNLOAD"] === "1") return { kind: "mongod", path: await download() };
  return undefined;
}

export async function startServer(program: ServerProgram, tls?: Tls): Promise<MongodbServer> {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-mongodb-"));
  const started = await startOnFreePort({ program, folder, tls }, START_ATTEMPTS);
  const { port } = started;
  let { child } = started;
  return {
    kind: program.kind,
    uri: `mongodb://127.0.0.1:${port}/${tls === undefined ? "" : "?tls=true"}`,
    port,
    folder,
    pid: () => child.pid,
    kill: () => kill(child),
    restart: async () => {
      await kill(child);
      child = await start({ program, folder, tls, port });
    },
    remove: async () => {
      await kill(child);
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** This server's URI with another database. `authSource` names the original database, which holds its user. */
export function uriOf(server: string, database: string): string {
  const parts = /^(mongodb(?:\+srv)?:\/\/)([^/?]*)\/?([^?]*)\??(.*)$/s.exec(server);
  if (parts === null) throw new Error("this is not a MongoDB URI");
  const [, scheme = "", hosts = "", itsDatabase = "", options = ""] = parts;
  const query = new URLSearchParams(options);
  if (hosts.includes("@") && !query.has("authSource")) query.set("authSource", itsDatabase || "admin");
  return `${scheme}${hosts}/${database}${query.size === 0 ? "" : `?${query.toString()}`}`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Not among the dependencies, because few need it. Its name is a variable, so that no tool reports it as missing. */
async function download(): Promise<string> {
  const name = "mongodb-memory-server-core";
  const { MongoBinary } = await import(name).catch(() => {
    throw new Error(`KEYCTL_TEST_MONGODB_DOWNLOAD=1 needs: npm install --no-save ${name}`);
  });
  return MongoBinary.getPath();
}

interface Start {
  readonly program: ServerProgram;
  readonly folder: string;
  readonly tls: Tls | undefined;
}

/** Tries again with another port: another process may take the free port before the server starts. */
async function startOnFreePort(how: Start, attempts: number): Promise<{ port: number; child: ChildProcess }> {
  const port = await freePort();
  try {
    return { port, child: await start({ ...how, port }) };
  } catch (error) {
    if (attempts === 1) throw error;
    return startOnFreePort(how, attempts - 1);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  // The address has a port, because the server listens on TCP.
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** Resolves when the server accepts connections. */
async function start(how: Start & { readonly port: number }): Promise<ChildProcess> {
  const { program, port } = how;
  const child = spawn(program.path, ARGUMENTS[program.kind](how), { stdio: ["pipe", "ignore", "ignore"] });
  const killIt = () => void child.kill("SIGKILL");
  process.once("exit", killIt);
  child.once("exit", () => process.off("exit", killIt));
  await once(child, "spawn");
  const deadline = Date.now() + START_MS;
  while (!(await takesConnections(port))) {
    if (hasEnded(child)) throw new Error(`${program.kind} ended when it was started`);
    if (Date.now() > deadline) {
      await kill(child);
      throw new Error(`${program.kind} did not listen within ${START_MS} ms`);
    }
    await wait(20);
  }
  if (hasEnded(child)) throw new Error(`another program listens on the port that ${program.kind} was given`);
  return child;
}

type Arguments = (how: Start & { readonly port: number }) => readonly string[];

const ARGUMENTS: Readonly<Record<ServerProgram["kind"], Arguments>> = {
  ferretdb: ({ folder, tls, port }) => [
    `-address=127.0.0.1:${port}`,
    `-folder=${folder}`,
    "-until-stdin-ends",
    ...(tls === undefined ? [] : [`-certificate=${tls.certificate}`, `-key=${tls.key}`]),
  ],
  mongod: ({ folder, tls, port }) => {
    const data = join(folder, "data");
    mkdirSync(data, { recursive: true });
    return [
      "--bind_ip=127.0.0.1",
      `--port=${port}`,
      `--dbpath=${data}`,
      "--nounixsocket",
      "--quiet",
      ...(tls === undefined ? [] : tlsArguments(tls, folder)),
    ];
  },
};

/** mongod needs certificate and key in one file, and a CA file even if it requests no certificate from clients. */
function tlsArguments({ certificate, key }: Tls, folder: string): readonly string[] {
  const both = join(folder, "certificate-and-key.pem");
  writeFileSync(both, Buffer.concat([readFileSync(certificate), readFileSync(key)]), { mode: 0o600 });
  return [
    "--tlsMode=requireTLS",
    `--tlsCertificateKeyFile=${both}`,
    `--tlsCAFile=${certificate}`,
    "--tlsAllowConnectionsWithoutCertificates",
  ];
}

async function takesConnections(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

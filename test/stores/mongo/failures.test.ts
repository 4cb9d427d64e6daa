import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { canariesIn, CANARIES } from "../../support/fixtures/leak-canaries.ts";
import { hasOpenssl, selfSigned } from "../../support/fixtures/certificate.ts";
import { errorOf, inProcess } from "../../support/programs/in-process.ts";
import { homeOn, withPassword, withSpare } from "../../support/mongodb/run.ts";
import { FAILURES } from "../../support/mongodb/failures.ts";
import { firstBatch, mongodbStub, SERVER_TEXT } from "../../support/mongodb/stub.ts";
import { uriOf } from "../../support/mongodb/server.ts";
import {
  databaseOfTest,
  describeWithMongodb,
  describeWithOwnServer,
  serverOfTest,
} from "../../support/mongodb/of-test.ts";

const GET = "get -u alice --stored";
const READS = [GET, "list", "list --count"];
const WRITES = ["sync -u alice", "sync -u alice -u bob", "save -u alice --stdin"];
/** For what the driver tries again before it gives up. */
const SOME = [GET, "sync -u alice", "sync --all"];
const ALL = [...READS, ...WRITES, "sync --all", "purge -u alice --yes"];

type Case = readonly [
  failure: keyof typeof FAILURES,
  commands: readonly string[],
  exit: number,
  code: string,
  problem: string,
];

const CASES: readonly Case[] = [
  ["tooOld", SOME, 7, "STORE_UNAVAILABLE", "is too old: keyctl needs MongoDB 4.4 or newer"],
  ["wrongPassword", ALL, 4, "STORE_DENIED", "refused the user name or the password"],
  ["wrongPasswordOnAtlas", ALL, 4, "STORE_DENIED", "refused the user name or the password"],
  ["noLogin", ALL, 4, "STORE_DENIED", "does not let this user do that"],
  ["readOnlyRole", WRITES, 4, "STORE_DENIED", "does not let this user do that"],
  ["readOnlyRoleOnAtlas", WRITES, 4, "STORE_DENIED", "does not let this user do that"],
  ["mayNotIndex", WRITES, 4, "STORE_DENIED", "does not let this user do that"],
  ["notPrimary", SOME, 7, "STORE_UNAVAILABLE", "has no member that accepts reads and writes right now"],
  ["noPrimary", SOME, 7, "STORE_UNAVAILABLE", "has no member that accepts reads and writes right now"],
  ["shuttingDown", SOME, 7, "STORE_UNAVAILABLE", "has no member that accepts reads and writes right now"],
  ["interruptedAtShutdown", SOME, 7, "STORE_UNAVAILABLE", "has no member that accepts reads and writes right now"],
  ["steppingDown", SOME, 7, "STORE_UNAVAILABLE", "has no member that accepts reads and writes right now"],
  ["noMajority", WRITES, 7, "STORE_UNAVAILABLE", "could not confirm the write on a majority of its members"],
  ["tooSlow", ALL, 7, "STORE_UNAVAILABLE", "does not answer in time"],
  ["cursorLost", [GET, "list", ...WRITES], 7, "STORE_UNAVAILABLE", "closed the list while it was being read"],
  ["shardWithoutPrimary", SOME, 7, "STORE_UNAVAILABLE", "has no member that accepts reads and writes right now"],
  ["shardUnreachable", SOME, 7, "STORE_UNAVAILABLE", "has no member that accepts reads and writes right now"],
  ["shardKeyMissing", WRITES, 7, "STORE_UNAVAILABLE", "has sharded api_keys by fields that keyctl does not write"],
  ["diskFull", WRITES, 7, "STORE_UNAVAILABLE", "could not write: its disk or its quota is full"],
  ["quotaUsedUpOnAtlas", WRITES, 7, "STORE_UNAVAILABLE", "could not write: its disk or its quota is full"],
  ["refusedByItsSchema", WRITES, 4, "STORE_DENIED", "has a validation rule for api_keys that refuses this document"],
];

describe("a server that fails", () => {
  const rows = CASES.flatMap(([failure, commands, ...expected]) =>
    commands.map((command) => [failure, command, ...expected] as const),
  );
  it.each(rows)(
    "in the way '%s', when it is asked to %s: exit %i %s",
    async (failure, command, exit, code, problem) => {
      const stub = await mongodbStub(FAILURES[failure]);
      const uri = failure.startsWith("wrongPassword") ? withPassword(stub.uri) : withSpare(stub.uri);
      await expectFailure(uri, command, { exit, code, problem: `the database ${stub.uri} ${problem}` });
    },
  );

  it.each(["readOnlyRole", "readOnlyRoleOnAtlas", "mayNotIndex", "diskFull", "noMajority", "router"] as const)(
    "in the way '%s' is read all the same",
    async (failure) => {
      const { uri } = await mongodbStub(FAILURES[failure]);
      expect(await inProcess(homeOn(uri), ["list"])).toMatchObject({ code: 0 });
      expect(await inProcess(homeOn(uri), GET.split(" "))).toMatchObject({ code: 3 });
    },
  );

  it.each([
    [2, "STORE_UNAVAILABLE", "answered with an error (MongoDB error code 2)"],
    [11601, "STORE_UNAVAILABLE", "was told by somebody to stop this command"],
    [166, "STORE_CORRUPT", "has api_keys as a view or a time series, which cannot hold keys"],
  ])("with the code %i says so in our words", async (number, code, problem) => {
    const stub = await mongodbStub({ find: { ok: 0, code: number, errmsg: `${SERVER_TEXT} ${CANARIES.key}` } });
    await expectFailure(stub.uri, GET, { code, problem: `the database ${stub.uri} ${problem}` });
  });

  it.each([{ ok: 1 }, { ok: 0 }, { ok: 1, cursor: 7 }])(
    "with an answer that is none of its protocol's: %j",
    async (answer) => {
      const { uri } = await mongodbStub({ find: answer });
      await expectFailure(uri, GET, {});
    },
  );

  it("reads what a read-only user may read, and syncs who is stored", async () => {
    const stub = await mongodbStub({ ...FAILURES.readOnlyRole, find: firstBatch([CLEAR_ROW]) });
    const home = homeOn(stub.uri);
    home.writeKeyFile(CANARIES["replaced key"]);
    for (const command of [GET, "get -u alice", "list", "sync -u alice"]) {
      expect(await inProcess(home, command.split(" "))).toMatchObject({ code: 0 });
    }
    await expectFailure(stub.uri, "purge -u alice --yes", { exit: 4, code: "STORE_DENIED" });
  });
});

const CLEAR_ROW = {
  _id: "1",
  user_id: "alice",
  key_encrypted: CANARIES.key,
  source: "manual",
  created_at: new Date(0),
};

describe("a server that cannot be reached", () => {
  it.each([...SOME, "sync --all --log"])("refuses the connection: %s", async (command) => {
    const { uri } = await silentServer();
    await expectFailure(uri.replace(/:\d+/, ":1"), command, { problem: "refused the connection" });
  });

  it.each([
    ["mongodb://nowhere.invalid/keys"],
    ["mongodb+srv://nowhere.invalid/keys"],
    ["mongodb+srv://db.nowhere.invalid/keys?srvServiceName=other"],
  ])("is on no host that there is: %s", async (uri) => {
    await expectFailure(withPassword(uri), GET, { problem: "is on a host that cannot be found" });
  });

  it("has no socket in the file system", async () => {
    await expectFailure("mongodb://%2Fnowhere%2Fmongodb-27017.sock/keys", GET, { problem: "refused the connection" });
  });

  it.each(SOME)("takes the connection and never answers: %s", async (command) => {
    const { uri } = await silentServer();
    await expectFailure(withPassword(uri), command, { problem: "does not answer in time" });
  });

  it.each(["", "?tls=true"])("takes the connection and ends it: %j", async (options) => {
    const { uri } = await silentServer((socket) => socket.end());
    await expectFailure(`${uri}${options}`, GET, { problem: "closed the connection" });
  });

  it("is none of MongoDB's", async () => {
    const { uri } = await silentServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await expectFailure(uri, GET, {});
  });

  it("is not of the replica set that the URI names", async () => {
    const { uri } = await mongodbStub();
    const problem = "is not a member of the replica set that its URI names";
    await expectFailure(`${uri}?replicaSet=rs0`, GET, { problem });
  });

  it("is not behind the load balancer that the URI speaks of", async () => {
    const { uri } = await mongodbStub();
    const expected = { exit: 4, code: "CONFIG_INVALID", problem: "is not behind a load balancer, as its URI says" };
    await expectFailure(`${uri}?loadBalanced=true`, GET, expected);
  });

  it.each([
    ["authMechanism=GSSAPI", "asks in its URI for what keyctl does not support"],
    ["authMechanism=scram-sha-999", "asks for a way to log in that keyctl does not know (authMechanism)"],
    ["authMechanism=MONGODB-OIDC", "asks for a way to log in that keyctl does not know (authMechanism)"],
    ["authMechanism=MONGODB-AWS", "has a user or a password that its way to log in (authMechanism) does not take"],
    ["authMechanism=MONGODB-X509", "has a user or a password that its way to log in (authMechanism) does not take"],
    ["tls=true&tlsCAFile=/nowhere.pem", "needs a certificate file that cannot be used"],
    ["tls=true&tlsCertificateKeyFile=/etc/hostname", "needs a certificate file that cannot be used"],
    ["tls=true&tlsCertificateKeyFile=/", "needs a certificate file that cannot be used"],
  ])("cannot be asked with %s", async (options, problem) => {
    const { uri } = await mongodbStub();
    await expectFailure(withPassword(`${uri}?${options}`), GET, { exit: 4, code: "CONFIG_INVALID", problem });
  });
});

describe("a log-in that nobody is named for", () => {
  it.each(["SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN", "gssapi"])(
    "is asked for by authMechanism=%s, and the URI names no user",
    async (mechanism) => {
      const { uri } = await mongodbStub();
      const expected = {
        exit: 4,
        code: "CONFIG_INVALID",
        problem: "asks for a way to log in (authMechanism), and names no user",
      };
      await expectFailure(withSpare(`${uri}?authMechanism=${mechanism}`), GET, expected);
    },
  );

  it("is asked for by MONGODB-AWS, and AWS has set up no credentials here", async () => {
    const { uri } = await mongodbStub();
    const problem = "asks in its URI for what keyctl does not support (Kerberos, AWS credentials, ";
    await expectFailure(withSpare(`${uri}?authMechanism=MONGODB-AWS`), GET, {
      exit: 4,
      code: "CONFIG_INVALID",
      problem,
    });
  });

  it.each([...READS, ...WRITES])("is what the server asks for: %s", async (command) => {
    const { uri } = await mongodbStub(FAILURES.loginWanted);
    const problem = "wants a user and a password, and its URI names none";
    await expectFailure(withSpare(uri), command, { exit: 4, code: "STORE_DENIED", problem });
  });

  it("is another matter where a user is named", async () => {
    const { uri } = await mongodbStub(FAILURES.mechanismUnavailable);
    const problem = "does not know the way to log in that its URI asks for, or has it switched off";
    await expectFailure(withPassword(uri), GET, { exit: 4, code: "STORE_DENIED", problem });
  });
});

describeWithMongodb("over a real server", () => {
  it("a user and a password that it does not know", async () => {
    const { uri } = databaseOfTest();
    if (uri.includes("@")) return;
    await expectFailure(withPassword(uri), GET, { exit: 4, code: "STORE_DENIED", problem: "refused the user name" });
  });

  it("TLS that it does not speak", async () => {
    const { uri } = databaseOfTest();
    await expectFailure(`${uri}?tls=true`, GET, {});
  });
});

describeWithOwnServer("TLS", () => {
  it.skipIf(!hasOpenssl)("is trusted by tlsCAFile, and by nothing less", async () => {
    const files = selfSigned();
    const server = await serverOfTest(files);
    const uri = uriOf(server.uri, "keys");

    await expectFailure(uri, GET, { problem: "could not be reached over TLS" });
    await expectFailure(uri.replace("tls=true", "tls=false"), GET, { problem: "closed the connection" });
    const home = homeOn(`${uri}&tlsCAFile=${encodeURIComponent(files.certificate)}`);
    expect(await inProcess(home, ["rekey", "--init"])).toMatchObject({ code: 0 });
    expect(await inProcess(home, ["list"])).toMatchObject({ code: 0 });
  });
});

interface Expected {
  readonly exit?: number;
  readonly code?: string;
  readonly problem?: string;
}

/** As text and as JSON: one sentence and a hint, and nothing of the server, the driver, the URI or a secret. */
async function expectFailure(uri: string, command: string, expected: Expected): Promise<void> {
  const { exit = 7, code = "STORE_UNAVAILABLE", problem = "the database " } = expected;
  const home = homeOn(uri);
  home.writeKeyFile(CANARIES.key);
  const args = [...command.split(" "), "--timeout", "1s", "--debug"];
  const [text, json] = [
    await inProcess(home, args, { input: CANARIES.key }),
    await inProcess(home, [...args, "--json"], { input: CANARIES.key }),
  ];

  expect({ ...errorOf(json), exit: json.code }).toMatchObject({ code, exit, exit_code: exit });
  expect(errorOf(json)?.message).toContain(problem);
  expect(text.code).toBe(exit);
  expect(text.stderr.replaceAll(/^\[KeyManager\].*\n/gm, "")).toMatch(/^error: .+\nhint: .+\n$/);
  const all = { stdout: text.stdout, stderr: text.stderr, json: json.stdout, log: json.stderr };
  expect(canariesIn(all)).toEqual([]);
  expect(Object.values(all).join("\n")).not.toMatch(
    new RegExp(`${SERVER_TEXT}|Mongo[A-Z](?!B)|mongodb\\S*[@?]|\\bat /`),
  );
}

/** A server that takes connections and does this with them; nothing by default. */
async function silentServer(act: (socket: Socket) => void = () => {}): Promise<{ readonly uri: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    act(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  // An address with a port, because it listens on TCP.
  const { port } = server.address() as AddressInfo;
  return { uri: `mongodb://127.0.0.1:${port}/keys` };
}

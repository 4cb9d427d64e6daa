import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { addMasterKey } from "../../src/encryption/master-key-file.ts";
import { parseMasterKeys } from "../../src/encryption/jwk-set.ts";
import { emptyHome } from "../support/home/home.ts";
import { jwkSet, newJwk } from "../support/fixtures/jwk.ts";
import { asOrdinaryUser } from "../support/home/ordinary-user.ts";

const never = new AbortController().signal;
const NOBODY = 65534;
const isRoot = process.getuid?.() === 0;

function fileOf(text: string): string {
  const path = join(emptyHome().folder, "keys", "master-keys.json");
  mkdirSync(dirname(path));
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function kidsIn(path: string): readonly string[] {
  return parseMasterKeys(readFileSync(path, "utf8")).map(({ kid }) => kid);
}

/** Folder and file belong to the user as whom `asOrdinaryUser` runs. */
function giveAway(path: string): void {
  chmodSync(dirname(dirname(path)), 0o755);
  if (!isRoot) return;
  chownSync(path, NOBODY, NOBODY);
  chownSync(dirname(path), NOBODY, NOBODY);
}

/** In a process of its own, one after the other: the ids of the new keys, or the code and message of the error. */
function addElsewhere(path: string, times = 1): Promise<unknown> {
  return asOrdinaryUser(
    "encryption/master-key-file.ts",
    `(async () => {
      const kids = [];
      for (let n = 0; n < ${times}; n += 1)
        kids.push(await subject.addMasterKey(${JSON.stringify(path)}, new AbortController().signal));
      return kids.join(" ");
    })().catch(({ code, message }) => code + ": " + message)`,
  );
}

describe("a new master key", () => {
  it("stands in front of those that were there, and all else of them stays", async () => {
    const [one, two] = [newJwk(), newJwk()];
    const set = { keys: [{ ...one, use: "enc", note: "the first" }, two], about: "ours" };
    const path = fileOf(`\uFEFF${JSON.stringify(set)}`);
    const kid = await addMasterKey(path, never);
    expect(kidsIn(path)).toEqual([kid, one.kid, two.kid]);
    const { keys, about } = JSON.parse(readFileSync(path, "utf8")) as typeof set;
    expect([keys.slice(1), about]).toEqual([set.keys, "ours"]);
  });

  it("is put in front of a bare key as well", async () => {
    const master = newJwk();
    const path = fileOf(`${master.k}\n`);
    const kid = await addMasterKey(path, never);
    expect(kidsIn(path)).toEqual([kid, master.kid]);
  });

  it("leaves nothing beside the file, and its mode as it was", async () => {
    const path = fileOf(jwkSet(newJwk()));
    chmodSync(path, 0o640);
    await addMasterKey(path, never);
    expect(readdirSync(dirname(path))).toEqual(["master-keys.json"]);
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  it.skipIf(!isRoot)("leaves the file to its owner", async () => {
    const path = fileOf(jwkSet(newJwk()));
    chownSync(path, NOBODY, NOBODY);
    await addMasterKey(path, never);
    expect(statSync(path)).toMatchObject({ uid: NOBODY, gid: NOBODY });
  });

  it("goes through symbolic links, as Kubernetes makes them, and leaves them", async () => {
    const master = newJwk();
    const path = fileOf(jwkSet(master));
    const link = join(dirname(path), "link");
    const other = join(dirname(path), "other");
    symlinkSync("other", link);
    symlinkSync(path, other);
    const kid = await addMasterKey(link, never);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(kidsIn(path)).toEqual([kid, master.kid]);
  });

  it("is never lost, nor an older one, when 8 processes each add three at once", async () => {
    const masters = [newJwk(), newJwk()];
    const path = fileOf(jwkSet(...masters));
    giveAway(path);
    const kids = await Promise.all(Array.from({ length: 8 }, () => addElsewhere(path, 3)));
    const all = [...kids.map(String), ...masters.map(({ kid }) => kid)].join(" ").split(" ");
    expect(all).toHaveLength(26);
    expect(kidsIn(path).toSorted()).toEqual(all.toSorted());
    expect(readdirSync(dirname(path))).toEqual(["master-keys.json"]);
  });
});

describe("a file of master keys that cannot be changed", () => {
  it("is left as it is while another rekey holds its lock, and the error names what a killed one leaves", async () => {
    const text = jwkSet(newJwk());
    const path = fileOf(text);
    writeFileSync(`${path}.lock`, "");
    const error = {
      code: "CONFLICT",
      retryable: true,
      hint: `if no rekey is running, one was killed: rm ${path}.lock`,
    };
    await expect(addMasterKey(path, never)).rejects.toMatchObject(error);
    expect(readFileSync(path, "utf8")).toBe(text);
    expect(existsSync(`${path}.lock`)).toBe(true);
  });

  it("is waited for, until the caller does not want to any more", async () => {
    const path = fileOf(jwkSet(newJwk()));
    writeFileSync(`${path}.lock`, "");
    const stop = new AbortController();
    const reason = new Error("stop");
    setTimeout(() => stop.abort(reason), 120);
    await expect(addMasterKey(path, stop.signal)).rejects.toBe(reason);
  });

  it("is named when the time is over while another rekey holds it", async () => {
    const path = fileOf(jwkSet(newJwk()));
    writeFileSync(`${path}.lock`, "");
    await expect(addMasterKey(path, AbortSignal.timeout(120))).rejects.toMatchObject({ code: "CONFLICT" });
  });

  it("is left as it is in a folder that this user cannot write to", async () => {
    const text = jwkSet(newJwk());
    const path = fileOf(text);
    giveAway(path);
    chmodSync(dirname(path), 0o500);
    expect(await addElsewhere(path)).toMatch(/^CONFIG_INVALID: .*\(EACCES\); nothing was changed$/);
    expect(readFileSync(path, "utf8")).toBe(text);
  });

  it.skipIf(!isRoot)("is left as it is when it belongs to somebody else", async () => {
    const text = jwkSet(newJwk());
    const path = fileOf(text);
    giveAway(path);
    chownSync(path, 0, 0);
    chmodSync(path, 0o644);
    expect(await addElsewhere(path)).toMatch(/^CONFIG_INVALID: .*\(EPERM\); nothing was changed$/);
    expect(readdirSync(dirname(path))).toEqual(["master-keys.json"]);
    expect(readFileSync(path, "utf8")).toBe(text);
  });

  it.each([
    ["that is gone", undefined],
    ["that is damaged", '{"keys":[{"kty":"oct","k":"AAAA"}]}'],
    ["that is empty", ""],
    ["that is full", jwkSet(...Array.from({ length: 450 }, newJwk))],
  ])("is an error where it is one %s", async (_, text) => {
    const path = text === undefined ? "/nowhere/master-keys.json" : fileOf(text);
    await expect(addMasterKey(path, never)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    if (text === undefined) return;
    expect(readFileSync(path, "utf8")).toBe(text);
    expect(readdirSync(dirname(path))).toEqual(["master-keys.json"]);
  });
});

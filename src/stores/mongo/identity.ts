import type { Db } from "mongodb";
import { KeyctlError } from "../../core/model/errors.ts";
import { ensureIdentity, refuseNewer } from "./schema.ts";
import type { MetaDocument } from "./schema.ts";

/**
 * **Invariant:** a store stays the database that was opened. Its id is read by the first call of a process; a database that
 * has another one later, or none, was dropped or restored from that of another store, and no key is made for it.
 */
export interface MongoIdentity {
  /** Before the first call. Throws STORE_NEWER, and what `whenMissing` gives where there is no document of ours, unless one may be made. */
  readonly look: () => Promise<void>;
  /** There was no document of ours when this process came. */
  readonly wasMissing: () => boolean;
  /** The id; undefined where there is none yet. Throws STORE_UNAVAILABLE for another one than it was. */
  readonly read: () => Promise<string | undefined>;
  /** Makes one where there is none, and gives what is there then. */
  readonly make: () => Promise<string | undefined>;
  /** The id is this one from now on. */
  readonly adopt: (deployment: string) => Promise<void>;
}

const DEPLOYMENT = { _id: { $eq: "deployment" } } as const;
/** Its id, and the version of its schema. */
const WHAT_IT_IS = { _id: { $in: ["deployment", "schema"] } };
const ANY = { projection: { _id: 1 } } as const;

export function mongoIdentity(
  database: Db,
  { name }: { readonly name: string },
  whenMissing: (() => KeyctlError) | undefined,
): MongoIdentity {
  const meta = database.collection<MetaDocument>("api_key_meta");
  let known: string | undefined;
  let isMissing = false;
  const idNow = async () => (await meta.findOne(DEPLOYMENT))?.value;
  const read = async () => {
    const id = await idNow();
    if (known !== undefined && id !== known) throw takenAway(name);
    known = id;
    return id;
  };
  return {
    async look() {
      const documents = await meta.find(WHAT_IT_IS).toArray();
      refuseNewer(documents);
      known = documents.find(({ _id }) => _id === "deployment")?.value;
      if (known !== undefined) return;
      isMissing =
        (await meta.findOne({}, ANY)) === null && (await database.collection("api_keys").findOne({}, ANY)) === null;
      if (isMissing && whenMissing !== undefined) throw whenMissing();
    },
    wasMissing: () => isMissing,
    read,
    async make() {
      await ensureIdentity(meta);
      return read();
    },
    async adopt(deployment) {
      await ensureIdentity(meta);
      await meta.updateOne(DEPLOYMENT, { $set: { value: deployment } });
      known = deployment;
    },
  };
}

function takenAway(name: string): KeyctlError {
  return new KeyctlError("STORE_UNAVAILABLE", `the database ${name} was dropped or replaced while it was in use`, {
    hint: "restore it, or stop what uses it and start again with what is there; no key is created for it",
  });
}

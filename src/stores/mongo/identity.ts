import type { Db } from "mongodb";
import { KeyctlError } from "../../core/model/errors.ts";
import { ensureIdentity, refuseNewer } from "./schema.ts";
import type { MetaDocument } from "./schema.ts";

/**
 * **Invariant:** a store stays the database that was opened. The first call of a process reads the database's id. If
 * the id is later different or missing, the database was dropped or replaced by that of another store: no key is
 * created for it.
 */
export interface MongoIdentity {
  /** Runs before the first call. Throws STORE_NEWER, and the error of `whenMissing` if no document is keyctl's. */
  readonly look: () => Promise<void>;
  /** True if `look` found no document of keyctl. */
  readonly wasMissing: () => boolean;
  /** The id; undefined if there is none yet. Throws STORE_UNAVAILABLE if it differs from the known id. */
  readonly read: () => Promise<string | undefined>;
  /** Creates an id if there is none, and returns the stored one. */
  readonly make: () => Promise<string | undefined>;
  /** Replaces the id with this one. */
  readonly adopt: (deployment: string) => Promise<void>;
}

const DEPLOYMENT = { _id: { $eq: "deployment" } } as const;
/** The id of the database and the version of its schema. */
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

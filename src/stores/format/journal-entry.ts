import { KeyctlError } from "../../core/model/errors.ts";
import type { AccountBinding, Entry, EntryKind, EntryOf, Recorded } from "../../core/ports/journal.ts";
import { PROVIDER } from "../../core/model/key-record.ts";
import { printable } from "../../core/text/printable.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { amountIn, expiryIn, limitResetIn, textIn, timestampIn } from "./values.ts";
import type { Fields } from "./values.ts";
import { userHash } from "../../core/model/user-id.ts";

/**
 * The format of a record of `api_key_journal`: its `_id`, which is unique and decides between concurrent inserts, and
 * the fields of its kind; times are text here. A damaged record is STORE_CORRUPT, never absent.
 */

const ID = /^[0-9a-f]{64}:([^:]+):([a-z]+):(\d{8,16})$/;
const DIGITS = 8;
/** The character that follows the colon in ASCII: ids with the prefix `<beginning>:` sort before `<beginning>;`. */
const AFTER_COLON = ";";
const DEPLOYMENT = /^[0-9a-f]{16}$/;

export function entryId(user: UserId, kind: EntryKind, n: number): string {
  return `${userHash(user)}:${PROVIDER}:${kind}:${String(n).padStart(DIGITS, "0")}`;
}

/** The id of an operation's outcome. */
export function outcomeId(operationId: string): string {
  return operationId.replace(":op:", ":out:");
}

/** The id of the proof that the key of a retirement is deleted. */
export function proofId(retirementId: string): string {
  return retirementId.replace(":due:", ":gone:");
}

/** All ids of a user, or those of one kind, as a range: `from` is included, `to` is not. */
export function idRange(user: UserId, kind?: EntryKind): readonly [from: string, to: string] {
  const beginning = `${userHash(user)}:${PROVIDER}${kind === undefined ? "" : `:${kind}`}`;
  return [`${beginning}:`, `${beginning}${AFTER_COLON}`];
}

export function fieldsOfEntry(entry: Entry): Fields {
  switch (entry.kind) {
    case "op":
      return {
        nonce: entry.nonce,
        label: entry.label,
        limit: entry.limit,
        limit_reset: entry.limitReset,
        expires_at: entry.expiresAt,
        workspace: entry.workspace,
        // Written only if true: the hourly cap counts an operation without this field.
        ...(entry.deliberate ? { deliberate: true } : {}),
      };
    case "out":
      return entry.outcome === "saved"
        ? { outcome: entry.outcome, hash: entry.hash, upstream_hash: entry.upstreamHash }
        : { outcome: entry.outcome };
    case "rev":
      // Written only if true: earlier versions wrote no such field.
      return { reason: entry.reason, revoke: entry.revoke, ...(entry.block ? { block: true } : {}) };
    case "due":
      return { retire_at: entry.retireAt };
    case "del":
    case "gone":
      return {};
  }
}

/** Undefined for a record of a kind or a provider that this version does not know. Throws STORE_CORRUPT. */
export function entryIn(id: string, userId: UserId, at: unknown, fields: Fields): Recorded | undefined {
  const [, provider, kind, number] = ID.exec(id) ?? [];
  if (provider !== PROVIDER || kind === undefined || !isKind(kind)) return undefined;
  const entry = readerOf[kind](Number(number), fields);
  const time = timestampIn(at);
  if (entry === undefined || time === null) throw unreadableEntry(id);
  return { ...entry, userId, at: time };
}

/** The entries of known kinds, by number. */
export function byNumber(entries: readonly (Recorded | undefined)[]): readonly Recorded[] {
  return entries.flatMap((entry) => entry ?? []).toSorted((one, other) => one.n - other.n);
}

export function isOfKind<Kind extends EntryKind>(
  entry: Recorded | undefined,
  kind: Kind,
): entry is Recorded<EntryOf<Kind>> {
  return entry?.kind === kind;
}

export function savedOutcomes(
  entries: readonly (Recorded | undefined)[],
): readonly Recorded<Extract<EntryOf<"out">, { outcome: "saved" }>>[] {
  return entries.filter((entry) => isOfKind(entry, "out")).filter((out) => out.outcome === "saved");
}

/** The id of a store, from its record. Throws STORE_CORRUPT. */
export function deploymentIn(value: unknown): string {
  if (typeof value === "string" && DEPLOYMENT.test(value)) return value;
  throw new KeyctlError("STORE_CORRUPT", "the record 'deployment' of api_key_meta is missing or damaged", {
    hint: "restore it from a backup: it is part of the name of every key that was created for this database",
  });
}

/** The value of the record 'account' of `api_key_meta`. */
export function accountText({ organization, workspaces, adoptedAt }: AccountBinding): string {
  // Written only if there is one: the record of most stores has no such time.
  const adopted = adoptedAt === null ? {} : { adopted_at: adoptedAt };
  return JSON.stringify({ organization_id: organization, workspace_ids: workspaces, ...adopted });
}

/** The account in that record. Ignores fields that a newer version has added. Throws STORE_CORRUPT. */
export function accountIn(value: unknown): AccountBinding {
  const { organization_id: organization = null, workspace_ids: workspaces = [], adopted_at = null } = fieldsIn(value);
  const adoptedAt = timestampIn(adopted_at);
  const isWhole = (organization === null || isId(organization)) && (adopted_at === null) === (adoptedAt === null);
  if (isWhole && Array.isArray(workspaces) && workspaces.every(isId)) {
    if (organization !== null || workspaces.length > 0) return { organization, workspaces, adoptedAt };
  }
  throw new KeyctlError("STORE_CORRUPT", "the record 'account' of api_key_meta is damaged", {
    hint: "keyctl reconcile --adopt-account   writes it again, for the account of the management key",
  });
}

function isId(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function fieldsIn(value: unknown): Fields {
  try {
    const parsed: unknown = JSON.parse(String(value));
    return typeof parsed === "object" && parsed !== null ? (parsed as Fields) : {};
  } catch {
    return {};
  }
}

type Reader<Kind extends EntryKind> = (n: number, fields: Fields) => EntryOf<Kind> | undefined;

const readerOf: { readonly [Kind in EntryKind]: Reader<Kind> } = {
  op(n, fields) {
    const nonce = textIn(fields["nonce"]);
    if (nonce === null) return undefined;
    return {
      kind: "op",
      n,
      nonce,
      label: textIn(fields["label"]),
      limit: amountIn(fields["limit"]),
      limitReset: limitResetIn(fields["limit_reset"]),
      expiresAt: expiryIn(fields["expires_at"]),
      workspace: textIn(fields["workspace"]),
      deliberate: fields["deliberate"] === true,
    };
  },
  out(n, fields) {
    const { outcome, hash } = fields;
    if (outcome === "abandoned") return { kind: "out", n, outcome };
    if (outcome !== "saved" || typeof hash !== "string") return undefined;
    return { kind: "out", n, outcome, hash, upstreamHash: textIn(fields["upstream_hash"]) };
  },
  rev(n, { reason, revoke, block }) {
    if ((reason !== "superseded" && reason !== "purged") || typeof revoke !== "boolean") return undefined;
    return { kind: "rev", n, reason, revoke, block: block === true };
  },
  due(n, fields) {
    const retireAt = timestampIn(fields["retire_at"]);
    return retireAt === null ? undefined : { kind: "due", n, retireAt };
  },
  del: (n) => ({ kind: "del", n }),
  gone: (n) => ({ kind: "gone", n }),
};

function isKind(text: string): text is EntryKind {
  return Object.hasOwn(readerOf, text);
}

/** The error STORE_CORRUPT for this record. */
export function unreadableEntry(id: string): KeyctlError {
  return new KeyctlError("STORE_CORRUPT", `the record ${printable(id)} of api_key_journal cannot be read`, {
    hint: "restore that record from a backup; keyctl writes each of them once and changes none",
  });
}

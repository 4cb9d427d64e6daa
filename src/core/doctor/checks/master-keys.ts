import type { StoreStats } from "../store-stats.ts";
import { KeyctlError } from "../../model/errors.ts";
import type { MasterKeyFacts } from "../collect-facts.ts";
import { printable } from "../../text/printable.ts";
import { shellQuote } from "../../text/shell-quote.ts";
import { OWNER_OR_MOUNT } from "../../model/key-file-mode.ts";
import { retireCommand } from "../../sealing/retire-master-key.ts";
import { missingKeysHint, RANDOM_KEY_COMMAND, wrongKeysHint } from "../../sealing/verify-master-keys.ts";
import { attention, pass, wrong } from "./check-result.ts";
import type { CheckVerdict } from "./check-result.ts";
import { counted, octal, plural } from "../../text/format.ts";

export function masterKeyVerdicts(facts: MasterKeyFacts, census: StoreStats | undefined): readonly CheckVerdict[] {
  const { place, sealer, checks } = facts;
  if (sealer === undefined) return [noMasterKeys(facts, census)];
  const { kids } = sealer;
  if (checks.length > 0 && !checks.some(({ opens }) => opens)) return [wrongMasterKeys(facts)];
  const problems = [
    ...strangers(census, kids, place.from),
    ...guessable(facts, census),
    ...(checks.length > 1 ? [attention(unfinished(checks.length), "keyctl rekey")] : []),
    ...(census?.isComplete === true && census.total > 0 ? idle(facts, census, kids) : []),
    ...modeOf(facts),
  ];
  const mode = place.file?.mode ?? null;
  const shown = [
    ...(place.file === null || place.file.path === place.from ? [] : [printable(place.file.path)]),
    ...(mode === null ? [] : [`mode ${octal(mode)}`]),
  ].join(", ");
  const where = `${kids.length}, from ${printable(place.from)}${shown === "" ? "" : ` (${shown})`}`;
  return problems.length > 0 ? problems : [pass(where)];
}

function noMasterKeys({ place, checks, mayGenerate }: MasterKeyFacts, census: StoreStats | undefined): CheckVerdict {
  const hint = missingKeysHint(place.file?.path ?? place.from);
  if (checks.length > 0 || (census?.sealed ?? 0) > 0) {
    const message = "none, and the database is sealed: no key can be used";
    return wrong(message, hint, new KeyctlError("MASTER_KEY_MISSING", message, { hint }));
  }
  if (mayGenerate) return pass(`none yet: the first save creates one in ${printable(place.file?.path ?? place.from)}`);
  const init = "keyctl rekey --init   creates one, and tells how to share it";
  const message = "none: no key can be saved";
  return wrong(message, init, new KeyctlError("MASTER_KEY_MISSING", message, { hint: init }));
}

function wrongMasterKeys({ place, checks }: MasterKeyFacts): CheckVerdict {
  const message = `those from ${printable(place.from)} are not the ones that this database is sealed with`;
  const kids = checks.map(({ kid }) => kid);
  const hint = wrongKeysHint(place.file?.path ?? place.from, kids, place.notRead);
  return wrong(message, hint, new KeyctlError("MASTER_KEY_WRONG", message, { hint }));
}

/** Keys that are sealed with a master key that is not available here. */
function strangers(census: StoreStats | undefined, kids: readonly string[], from: string): readonly CheckVerdict[] {
  const strange = [...(census?.kids ?? [])].filter(([kid]) => !kids.includes(kid));
  return strange.map(([kid, count]) => {
    const message = `${counted(count, "key")} ${plural(count, "is", "are")} sealed with master key ${short(kid)}, which is not here`;
    const hint = `add that master key to ${printable(from)}, behind the first`;
    return wrong(message, hint, new KeyctlError("MASTER_KEY_MISSING", message, { hint }));
  });
}

function unfinished(checks: number): string {
  return `the database is sealed with ${checks} master keys: a rekey is not finished`;
}

/** Master keys that seal nothing in this store. */
function idle({ place, checks }: MasterKeyFacts, census: StoreStats, kids: readonly string[]): readonly CheckVerdict[] {
  const used = new Set([...census.kids.keys(), ...checks.map(({ kid }) => kid)]);
  return kids.flatMap((kid, index) => {
    if (used.has(kid)) return [];
    if (index === 0) return [attention(`the first, ${short(kid)}, seals nothing yet`, "keyctl rekey")];
    const way = place.isWritable ? retireCommand(kid) : `remove it from ${printable(place.from)}`;
    return [
      attention(
        `${short(kid)} is used by nothing in this database`,
        `unless another database or a backup needs it: ${way}`,
      ),
    ];
  });
}

/** Guessable master keys that this store uses or, if it uses none yet, would use. */
function guessable(
  { checks, guessableKids = [] }: MasterKeyFacts,
  census: StoreStats | undefined,
): readonly CheckVerdict[] {
  const used = new Set([...(census?.kids.keys() ?? []), ...checks.map(({ kid }) => kid)]);
  const hint = used.size === 0 ? `${RANDOM_KEY_COMMAND}   prints a random one` : "keyctl rekey";
  return guessableKids
    .filter((kid) => used.size === 0 || used.has(kid))
    .map((kid) => wrong(`${short(kid)} follows a pattern: anybody can guess it, and open what it seals`, hint));
}

function modeOf({ place: { file } }: MasterKeyFacts): readonly CheckVerdict[] {
  if (file === null || file.mode === null || !file.readableByOthers) return [];
  const message = `${printable(file.path)} can be read by other users of this machine (${octal(file.mode)})`;
  return [attention(message, file.modeCanChange === false ? OWNER_OR_MOUNT : `chmod 600 ${shellQuote(file.path)}`)];
}

function short(kid: string): string {
  return `${printable(kid.slice(0, 8))}…`;
}

import { rotationVerdicts } from "./checks/rotations.ts";
import { blockedVerdicts } from "./checks/blocked.ts";
import { encryptionVerdicts } from "./checks/encryption.ts";
import { environmentVerdicts, keyFileVerdict, pathVerdict, variablesVerdicts } from "./checks/machine.ts";
import type { HostFacts } from "./checks/machine.ts";
import { accountVerdict, managementKeyVerdict, openRouterVerdict, spoolVerdicts } from "./checks/openrouter.ts";
import { masterKeyVerdicts } from "./checks/master-keys.ts";
import { integrityUnknown, integrityVerdicts, serverVerdicts, storeVerdict } from "./checks/store.ts";
import { failure, judged } from "./checks/check-result.ts";
import type { CheckVerdict } from "./checks/check-result.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { DoctorFacts } from "./collect-facts.ts";

/** **Order:** all facts are collected first and diagnosed afterwards. This file reads no store, file or network. */

export type CheckFinding = CheckVerdict & { readonly id: CheckId };

export type CheckId =
  | "configuration"
  | "store"
  | "server"
  | "encryption"
  | "blocked"
  | "master_keys"
  | "management_key"
  | "openrouter"
  | "spool"
  | "rotations"
  | "key_file"
  | "environment"
  | "path";

type Check = (facts: DoctorFacts, surroundings: HostFacts) => readonly CheckVerdict[];

/** In the order of the output. A check with several problems has one verdict for each. */
const CHECKS: readonly (readonly [id: CheckId, check: Check])[] = [
  ["configuration", ({ provisioning }) => judged(provisioning, () => [])],
  ["store", ({ storeExists, count }, { storeLabel }) => [storeVerdict(storeExists, count, storeLabel)]],
  [
    "server",
    ({ server, integrity = { status: "skipped" }, deep }) => [
      ...judged(server, serverVerdicts),
      ...(integrity.status === "late"
        ? [integrityUnknown(deep)]
        : judged(integrity, (value) => integrityVerdicts(value, deep))),
    ],
  ],
  [
    "encryption",
    ({ census, count, deep, requireSealed, plainText }) =>
      judged(census, (value) => {
        const total = count.status === "known" ? count.value : value.total;
        const remains = plainText?.status === "known" ? plainText.value : undefined;
        return encryptionVerdicts(value, { total, deep, requireSealed, plainText: remains });
      }),
  ],
  ["blocked", ({ census }) => (census.status === "known" ? blockedVerdicts(census.value) : [])],
  [
    "master_keys",
    ({ masterKeys, census }) =>
      judged(masterKeys, (value) => masterKeyVerdicts(value, census.status === "known" ? census.value : undefined)),
  ],
  [
    "management_key",
    ({ managementKey, account, count }) =>
      judged(managementKey, (value) => [accountVerdict(account, count) ?? managementKeyVerdict(value)]),
  ],
  ["openrouter", ({ openRouter }) => judged(openRouter, (value) => [openRouterVerdict(value)])],
  ["spool", ({ spooled }) => judged(spooled, spoolVerdicts)],
  ["rotations", ({ duties }) => judged(duties, rotationVerdicts)],
  [
    "key_file",
    ({ keyFile }, surroundings) => judged(keyFile, (value) => [keyFileVerdict(value, surroundings.keyFile)]),
  ],
  [
    "environment",
    ({ environment }, surroundings) => [
      ...judged(environment, environmentVerdicts),
      ...variablesVerdicts(surroundings),
    ],
  ],
  ["path", (_, { otherKeyctl }) => [pathVerdict(otherKeyctl)]],
];

export function diagnose(facts: DoctorFacts, surroundings: HostFacts): readonly CheckFinding[] {
  return CHECKS.flatMap(([id, check]) => check(facts, surroundings).map((verdict) => ({ id, ...verdict })));
}

/** The findings that are possible if the configuration itself was refused. */
export function diagnoseWithout(error: KeyctlError, surroundings: HostFacts): readonly CheckFinding[] {
  return [
    { id: "configuration", ...failure(error) },
    ...variablesVerdicts(surroundings).map((verdict) => ({ id: "environment" as const, ...verdict })),
    { id: "path", ...pathVerdict(surroundings.otherKeyctl) },
  ];
}

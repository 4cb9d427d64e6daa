import { ApiKey } from "../core/model/api-key.ts";
import { KeyctlError } from "../core/model/errors.ts";
import { PROVIDER } from "../core/model/key-record.ts";
import type { KeyCheckValue, Sealer } from "../core/ports/stores-and-sources.ts";
import { printable } from "../core/text/printable.ts";
import { userFlag } from "../core/text/shell-quote.ts";
import type { UserId } from "../core/model/user-id.ts";
import { kidOfJwe, openJwe, sealJwe } from "./jwe.ts";
import type { MasterKey, SealedFor } from "./jwe.ts";

const CHECK: SealedFor = { sub: "check", prv: "keyctl" };
const CHECK_TEXT = "keyctl";

/** Seals with the first master key and opens with any of them. */
export function createSealer(active: MasterKey, others: readonly MasterKey[] = []): Sealer {
  const keys = new Map([active, ...others].map((key) => [key.kid, key]));

  return {
    activeKid: active.kid,
    kids: [...keys.keys()],
    seal: (key, user) => sealJwe(key.reveal(), active, { sub: user, prv: PROVIDER }),
    open(sealed, user) {
      const opened = openJwe(sealed, keys, { sub: user, prv: PROVIDER });
      if (opened.status === "unknown-master-key") throw unknownMasterKey(user, opened.kid);
      const key = opened.status === "open" ? exactKey(opened.text) : undefined;
      if (key === undefined) throw unreadable(user);
      return key;
    },
    kidOf: kidOfJwe,
    newSealCheck: (): KeyCheckValue => ({ kid: active.kid, value: sealJwe(CHECK_TEXT, active, CHECK) }),
    opensSealCheck: ({ value }) => {
      const opened = openJwe(value, keys, CHECK);
      return opened.status === "open" && opened.text === CHECK_TEXT;
    },
  };
}

/** The key, if the opened text is exactly a key with nothing around it. */
function exactKey(text: string): ApiKey | undefined {
  const key = ApiKey.parse(text);
  return key?.reveal() === text ? key : undefined;
}

function unknownMasterKey(user: UserId, kid: string): KeyctlError {
  const shown = printable(kid.slice(0, 43));
  return new KeyctlError(
    "ROW_UNREADABLE",
    `the key of user ${printable(user)} is sealed with master key ${shown}, which is not here`,
    {
      hint: "add that master key to the set behind the active one; keyctl help environment",
    },
  );
}

function unreadable(user: UserId): KeyctlError {
  return new KeyctlError(
    "ROW_UNREADABLE",
    `the stored key of user ${printable(user)} does not open: it is damaged or was moved from another row`,
    {
      hint: `restore the row from a backup, or: keyctl save ${userFlag(user)} --replace`,
    },
  );
}

import type { Account, AccountOnUse } from "../ports/account.ts";
import type { AccountContext } from "./account.ts";
import type { Warning } from "../model/warning.ts";

export function accountOnUse(context: AccountContext): AccountOnUse {
  const warnings: Warning[] = [];
  let opened: Promise<Account> | undefined;
  const open = async () => {
    const { StoreAccount } = await import("./account.ts");
    return new StoreAccount(context, (warning) => warnings.push(warning));
  };
  return { open: () => (opened ??= open()), takeWarnings: () => warnings.splice(0) };
}

import type { Account, AccountOnUse } from "../ports/account.ts";
import type { Context } from "../context.ts";
import type { Warning } from "../model/warning.ts";

export function accountOnUse(
  context: Pick<Context, "journal" | "openRouter" | "clock" | "managementKey">,
): AccountOnUse {
  const warnings: Warning[] = [];
  let opened: Promise<Account> | undefined;
  const open = async () => {
    const { StoreAccount } = await import("./store-account.ts");
    return new StoreAccount(context, (warning) => warnings.push(warning));
  };
  return { open: () => (opened ??= open()), takeWarnings: () => warnings.splice(0) };
}

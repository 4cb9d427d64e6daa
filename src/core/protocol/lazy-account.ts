import type { Account, AccountOnUse, RestrictionsUpstream } from "../ports/account.ts";
import type { Context } from "../context.ts";
import type { Warning } from "../model/warning.ts";

export function accountOnUse(
  context: Pick<Context, "journal" | "openRouter" | "clock" | "managementKey">,
): AccountOnUse {
  const warnings: Warning[] = [];
  let opened: Promise<Account> | undefined;
  let book: Promise<RestrictionsUpstream> | undefined;
  const open = async () => {
    const { StoreAccount } = await import("./store-account.ts");
    return new StoreAccount(context, (warning) => warnings.push(warning));
  };
  const openBook = async () => {
    const { RestrictionBook } = await import("./restriction-book.ts");
    return new RestrictionBook((warning) => warnings.push(warning));
  };
  return {
    open: () => (opened ??= open()),
    restrictions: () => (book ??= openBook()),
    takeWarnings: () => warnings.splice(0),
  };
}

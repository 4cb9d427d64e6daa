import type { Warning } from "../ports.ts";
import type { Account, AccountContext } from "./account.ts";

/** The account of the management key, of which nothing is loaded or asked before it matters. */
export interface AccountOnUse {
  readonly open: () => Promise<Account>;
  /** What was not told yet. */
  readonly takeWarnings: () => readonly Warning[];
}

export function accountOnUse(context: AccountContext): AccountOnUse {
  const warnings: Warning[] = [];
  let opened: Promise<Account> | undefined;
  const open = async () => {
    const { Account: Opened } = await import("./account.ts");
    return new Opened(context, (warning) => warnings.push(warning));
  };
  return { open: () => (opened ??= open()), takeWarnings: () => warnings.splice(0) };
}

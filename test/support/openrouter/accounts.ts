import { createHash, randomUUID } from "node:crypto";

/** The owner of workspaces and their keys. An account sees no other account's keys. */
export interface MockAccount {
  readonly id: string;
  readonly managementKey: string;
  /** Null for a personal account. */
  readonly organization: string | null;
  readonly defaultWorkspace: string;
}

type NewAccount = Pick<MockAccount, "managementKey" | "organization">;

interface Workspace {
  readonly id: string;
  readonly name: string;
  /** The id of the account that owns the workspace. */
  readonly owner: string;
}

export type Accounts = ReturnType<typeof accountRecords>;

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The accounts, their management keys and their workspaces. */
export function accountRecords(first: NewAccount) {
  /** The accounts by their management keys. */
  const accounts = new Map<string, MockAccount>();
  const workspaces = new Map<string, Workspace>();
  const account = addAccount(first);

  function addAccount({ managementKey, organization }: NewAccount): MockAccount {
    const id = randomUUID();
    const added = { id, managementKey, organization, defaultWorkspace: addWorkspace("Default Workspace", id) };
    addManagementKey(managementKey, added);
    return added;
  }

  function addManagementKey(managementKey: string, owner: MockAccount): void {
    accounts.set(managementKey, owner);
  }

  function addWorkspace(name: string, owner: string): string {
    const id = randomUUID();
    workspaces.set(id, { id, name, owner });
    return id;
  }

  /** The account of this management key. */
  const accountOf = (token: string | undefined) => accounts.get(token ?? "");
  const workspacesOf = (owner: MockAccount | undefined) =>
    [...workspaces.values()].filter((workspace) => workspace.owner === owner?.id);
  return {
    /** The first account. */
    account,
    addAccount,
    addManagementKey,
    addWorkspace,
    accountOf,
    workspacesOf,
    ownerOf: (workspace: string) => [...accounts.values()].find(({ id }) => id === workspaces.get(workspace)?.owner),
    /** Whether this management key's account owns the workspace. */
    owns: (token: string | undefined, workspace: string) => workspaces.get(workspace)?.owner === accountOf(token)?.id,
  };
}

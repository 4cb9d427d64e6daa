import type { Command } from "commander";
import type { UserId } from "../../core/model/user-id.ts";

export interface DryRunFlags {
  readonly dryRun?: true;
}

export function addDryRunOption(command: Command): Command {
  return command.option("--dry-run", "show what would be done; change nothing");
}

/** The preview of one user. */
export async function firstOfOne<Preview>(
  user: UserId,
  preview: (batches: AsyncIterable<readonly UserId[]>) => AsyncIterable<readonly Preview[]>,
): Promise<Preview> {
  const batches = async function* () {
    yield [user];
  };
  for await (const [first] of preview(batches())) if (first !== undefined) return first;
  throw new Error("a preview gave nothing for a user");
}

import { counted, plural } from "../../text/format.ts";
import { namesIn } from "../store-stats.ts";
import type { StoreStats } from "../store-stats.ts";
import { attention, pass } from "./check-result.ts";
import type { CheckVerdict } from "./check-result.ts";

/** Empty if nobody is blocked. */
export function blockedVerdicts({ blocked: { count, withKey } }: StoreStats): readonly CheckVerdict[] {
  if (count === 0) return [];
  const blocked = `${counted(count, "user")} ${plural(count, "is", "are")} blocked`;
  if (withKey.count === 0) return [pass(blocked)];
  const beside = `another program has written ${plural(withKey.count, "a key", "keys")} beside the ${plural(withKey.count, "block", "blocks")} of ${namesIn(withKey)}`;
  return [
    attention(
      `${blocked}; ${beside}`,
      "keyctl hands out no such key; see which program writes there, and what it does with the key",
    ),
  ];
}

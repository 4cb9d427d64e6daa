import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../src/core/errors.ts";
import type { Within } from "../../src/core/examination.ts";
import { managementKeyRefused, ManagementKey } from "../../src/core/management-key.ts";
import type { AcceptedKey, Credits, KeyCheck, OpenRouter, Reach, UpstreamKeys } from "../../src/core/upstream.ts";
import { askUpstream } from "../../src/core/upstream-facts.ts";

const NOW = Date.parse("2026-11-22T02:14:07.500Z");
const KEY = ManagementKey.parse("sk-or-v1-a-management-key");
const accepted: AcceptedKey = {
  status: "accepted",
  limit: null,
  limitRemaining: null,
  limitReset: null,
  expiresAt: null,
  isManagementKey: true,
};
const unknown = {
  status: "unknown",
  reason: "unreachable",
  httpStatus: null,
  attempts: 1,
  detail: "could not be reached",
} as const;

/** What was thrown is an outcome, and the time is never over. */
const patiently: Within = async (_, work) => {
  try {
    return { status: "known", value: await work(new AbortController().signal) };
  } catch (thrown) {
    return { status: "failed", error: thrown as KeyctlError };
  }
};

interface Answers {
  readonly reach?: Reach;
  readonly check?: KeyCheck;
  readonly credits?: () => Promise<Credits>;
}

/** What comes of asking an OpenRouter that answers so, and what it was asked. */
async function asked(answers: Answers, key: () => ManagementKey | undefined = () => KEY) {
  const calls: string[] = [];
  const { reach = { status: "reached", elapsedMs: 0, serverTime: undefined }, check = accepted } = answers;
  const { credits = async () => ({ status: "known", total: 50, used: 7 }) as const } = answers;
  const keys: Pick<UpstreamKeys, "credits"> = { credits: () => (calls.push("credits"), credits()) };
  const upstream: Pick<OpenRouter, "reach" | "checkKey"> = {
    reach: async () => (calls.push("reach"), reach),
    checkKey: async () => (calls.push("checkKey"), check),
  };
  // Only these are asked: another call would be one too many.
  const open = async () => ({ ...upstream, keysUnder: () => keys }) as unknown as OpenRouter;
  const openRouter = { open, sent: () => 0, onPause: () => () => {}, close: async () => {} };
  const clock = { now: () => new Date(NOW) };
  return { ...(await askUpstream({ openRouter, managementKey: key, clock }, patiently)), calls };
}

describe("the clock of this machine", () => {
  it.each<readonly [serverTime: string | undefined, elapsedMs: number, skewMs: number | undefined]>([
    [undefined, 100, undefined],
    ["2026-11-22T02:14:07Z", 0, 0],
    ["2026-11-22T02:14:07Z", 1_000, 0],
    ["2026-11-22T02:14:08Z", 0, -500],
    ["2026-11-22T02:14:08Z", 400, -700],
    ["2026-11-22T02:14:06Z", 0, 500],
    ["2026-11-22T01:14:07Z", 0, 3_599_500],
  ])("beside %s after %i ms is off by %j", async (serverTime, elapsedMs, skewMs) => {
    const time = serverTime === undefined ? undefined : new Date(serverTime);
    const { openRouter } = await asked({ reach: { status: "reached", elapsedMs, serverTime: time } });
    expect(openRouter).toEqual({ status: "known", value: { status: "reached", elapsedMs, skewMs } });
  });
});

describe("the management key", () => {
  it("is asked for its credits once it is known to be one", async () => {
    const { managementKey, calls } = await asked({});
    expect(managementKey).toEqual({
      status: "known",
      value: { status: "accepted", key: accepted, credits: { status: "known", total: 50, used: 7 } },
    });
    expect(calls).toEqual(["reach", "checkKey", "credits"]);
  });

  it.each<readonly [string, Answers, key: ManagementKey | undefined, calls: readonly string[], status: string]>([
    ["there is none", {}, undefined, ["reach"], "missing"],
    ["OpenRouter is away", { reach: unknown }, KEY, ["reach"], "not-asked"],
    ["it is refused", { check: { status: "refused", detail: "" } }, KEY, ["reach", "checkKey"], "refused"],
    ["nobody could find out", { check: unknown }, KEY, ["reach", "checkKey"], "unknown"],
    ["it is another key", { check: { ...accepted, isManagementKey: false } }, KEY, ["reach", "checkKey"], "accepted"],
  ])("is asked no more than needed where %s", async (_, answers, key, calls, status) => {
    const found = await asked(answers, () => key);
    expect(found.managementKey).toMatchObject({ status: "known", value: { status } });
    expect(found.calls).toEqual(calls);
    if (status === "accepted") expect(found.managementKey).toMatchObject({ value: { credits: null } });
  });

  it("that cannot be one is told, and OpenRouter is looked for all the same", async () => {
    const error = new KeyctlError("CONFIG_INVALID", "it does not hold a management key");
    const { openRouter, managementKey } = await asked({}, () => {
      throw error;
    });
    expect(managementKey).toEqual({ status: "failed", error });
    expect(openRouter).toMatchObject({ status: "known", value: { status: "reached" } });
  });

  it("is accepted though its credits could not be asked for", async () => {
    const { managementKey } = await asked({ credits: () => Promise.reject(managementKeyRefused("answered 403")) });
    expect(managementKey).toMatchObject({ status: "known", value: { status: "accepted", credits: null } });
  });
});

import { describe, expect, it } from "vitest";
import { CANARIES, canariesIn } from "../support/fixtures/leak-canaries.ts";
import type { Fault } from "../support/openrouter/faults.ts";
import { askEverything } from "../support/openrouter/process.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

const managementKey = CANARIES["management key"];

describe("no key is in what a process prints", () => {
  it.each<readonly [string, Fault | "pass"]>([
    ["all goes well", "pass"],
    ["everything is refused", { status: 401 }],
    ["everything is forbidden", { status: 403 }],
    ["everything fails", { status: 500 }],
    ["every connection is cut", "reset-after"],
    ["every answer is cut", "cut-body"],
    ["everything is a redirect", "redirect"],
    ["everything repeats what it was sent", "echo"],
  ])("when %s", async (_name, fault) => {
    const server = await mockOpenRouter({ managementKey });
    server.addKey(CANARIES.key);
    server.behave(() => fault);
    const { stdout, stderr } = await askEverything(server.url, {
      NODE_DEBUG: "undici,fetch,http,https,net,tls,stream,dns",
    });
    // What a newly made key is, nobody knows beforehand: it has this shape.
    const printed = `${stdout}\n${stderr}`;
    expect(printed.match(/sk-or-v1-[0-9a-f]{16}/g)).toBeNull();
    expect(printed.match(/bearer [\w-]+/gi)).toBeNull();
    expect(canariesIn({ stdout, stderr })).toEqual([]);
    expect(printed).toContain("checkManagementKey");
  });
});

import { describe, expect, it } from "vitest";
import { documentsOf } from "../support/programs/in-process.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";

const DAY = 86_400_000;
const dayIn = (days: number) => new Date(Date.now() + days * DAY).toISOString().slice(0, 10);

describe("a date on the command line", () => {
  it("is when a new key ends, to the second, whenever it is created", async () => {
    const { run, given, server } = await stage();
    const end = `${dayIn(60)}T00:00:00.000Z`;
    const dry = await given(`provision --user alice --expires-in ${dayIn(60)} --dry-run --json`);
    expect(documentsOf(dry)[0]).toMatchObject({ expires_at: end });
    const created = await given(`provision --user alice --expires-in ${dayIn(60)} --json`);
    expect(documentsOf(created)[0]).toMatchObject({ expires_at: end });
    expect([...server.keys.values()].map(({ expiresAt }) => expiresAt)).toEqual([
      expect.stringContaining(end.slice(0, -5)),
    ]);
    const rotated = await run(`rotate --user alice --expires-in ${dayIn(90)}T12:30:00+02:00 --json`);
    expect(documentsOf(rotated)[0]).toMatchObject({ expires_at: `${dayIn(90)}T10:30:00.000Z`, error: null });
  });

  it("is stronger than the lifetime that the environment gives", async () => {
    const { given } = await stage();
    const env = { KEYCTL_PROVISION_EXPIRES_IN: "10d" };
    const created = await given(`provision --user alice --expires-in ${dayIn(60)} --json`, { env });
    expect(documentsOf(created)[0]).toMatchObject({ expires_at: `${dayIn(60)}T00:00:00.000Z` });
  });

  it("chooses among keys and events", async () => {
    const { given, run } = await stage();
    await given("provision --user alice --expires-in 10d");
    const listed = async (words: string) => documentsOf(await run(`list --json --expires-within ${words}`)).length;
    expect([await listed(dayIn(5)), await listed(dayIn(12)), await listed("9d"), await listed("2w")]).toEqual([
      0, 1, 0, 1,
    ]);
    const events = async (words: string) => documentsOf(await run(`history --json --since ${words}`)).length;
    expect([await events(dayIn(-1)), await events("1w")]).toEqual([1, 1]);
    expect((await run(`history --since ${new Date().toISOString()}`)).stderr).toContain("no event since ");
    const rotation = async (words: string) =>
      documentsOf(await run(`rotate --all --dry-run --json --older-than ${words}`));
    expect((await rotation(dayIn(-1))).at(-1)).toMatchObject({ type: "summary", to_rotate: 0 });
    const checked = await run(`validate --user alice --json --warn-within ${dayIn(12)}`);
    expect(documentsOf(checked)[0]).toMatchObject({ attention: expect.arrayContaining(["EXPIRES_SOON"]) as unknown });
    expect((await run(`validate --user alice --json --warn-within ${dayIn(5)}`)).code).toBe(0);
  });
});

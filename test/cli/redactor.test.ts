import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { redactor } from "../../src/cli/terminal/redactor.ts";
import { passwordsIn } from "../../src/core/model/redact-keys.ts";

const KEY = `sk-or-v1-${"0a1b2c3d".repeat(7)}0a1bb465`;
const MASK = "***************b465";

const keys = fc.stringMatching(/^sk-or-v1-[A-Za-z0-9_-]{8,200}$/);
const around = fc.string().filter((text) => !/^[A-Za-z0-9_-]|sk-or-v/.test(text));

describe("the passwords in a URI", () => {
  it.each([
    ["mongodb://me:p%40ssword@db/keys", ["p%40ssword", "p@ssword"]],
    ["mongodb+srv://:secret@db/keys", ["secret", "secret"]],
    ["mongodb://me:p@ss:wo/rd@db/keys", ["p@ss:wo/rd", "p@ss:wo/rd"]],
    ["mongodb://me:100%@db/keys", ["100%"]],
    ["mongodb://me@db:27017/keys", []],
    ["mongodb://db:27017/keys", []],
    ["sqlite:/srv/keys.db", []],
    ["", []],
  ])("of %j are %j", (uri, passwords) => {
    expect(passwordsIn(uri)).toEqual(passwords);
  });

  it("are hidden as they stand there and as they are meant", () => {
    const redact = redactor(passwordsIn("mongodb://me:p%40ssword@db/keys"));
    expect(redact("a driver repeats p%40ssword, and p@ssword too")).toBe("a driver repeats ***, and *** too");
  });
});

describe("the redactor", () => {
  it.each([
    [KEY, MASK],
    [`key=${KEY}.`, `key=${MASK}.`],
    [`OPENROUTER_API_KEY${KEY}`, `OPENROUTER_API_KEY${MASK}`],
    [`{"key":"${KEY}","hash":"00"}`, `{"key":"${MASK}","hash":"00"}`],
    [`${KEY}\n${KEY}`, `${MASK}\n${MASK}`],
    ["mongodb://user:secret@host/db", "mongodb://user:***@host/db"],
    ["mongodb+srv://user:p%40ss@host", "mongodb+srv://user:***@host"],
    ["mongodb://:secret@host", "mongodb://:***@host"],
    ["mongodb://user:p@ss@host/db", "mongodb://user:***@host/db"],
    ['{"store":"mongodb://host:27017","user":"a@b"}', '{"store":"mongodb://host:27017","user":"a@b"}'],
    ["task-or-schedule and desk-or-furniture", "task-or-schedule and desk-or-furniture"],
    [MASK, MASK],
    ["", ""],
  ])("makes of %j %j", (text, shown) => {
    expect(redactor([])(text)).toBe(shown);
  });

  it.each([
    [["a secret of ours"], "it is: a secret of ours!", "it is: ***!"],
    [["a secret of ours\n"], "it is: a secret of ours", "it is: ***"],
    [["begin-se", "begin-secret-end"], "begin-secret-end", "***"],
    [["first-secret", "second-secret"], "first-secret second-secret", "*** ***"],
    [["$&$1.*+?^{}"], "$&$1.*+?^{}", "***"],
    [["short", ""], "short is no secret", "short is no secret"],
    [["mongodb://db.prod/keys"], "4 keys in mongodb://db.prod/keys", "4 keys in mongodb://db.prod/keys"],
    [["sqlite:/srv/keys.db"], "4 keys in sqlite:/srv/keys.db", "4 keys in sqlite:/srv/keys.db"],
    [
      ["mongodb://db.prod/keys?tlsCertificateKeyFilePassword=x"],
      "mongodb://db.prod/keys?tlsCertificateKeyFilePassword=x",
      "***",
    ],
  ])("hides the secrets %j", (secrets, text, shown) => {
    expect(redactor(secrets)(text)).toBe(shown);
  });

  it("shows of a key in any text no more than its mask", () => {
    fc.assert(
      fc.property(around, keys, around, (before, key, after) => {
        const shown = redactor([])(`${before}${key} ${after}`);
        expect(shown).not.toContain(key);
        expect(shown).toContain(`***************${key.slice(-4)} `);
      }),
    );
  });

  it("shows none of the secrets that it knows", () => {
    const secrets = fc.array(fc.stringMatching(/^[ -~]{8,40}$/).filter((text) => text.trim().length >= 8));
    fc.assert(
      fc.property(secrets, fc.string(), (known, text) => {
        const shown = redactor(known)(known.join(text));
        for (const secret of known) expect(shown.replaceAll("***", "")).not.toContain(secret.trim());
      }),
    );
  });

  it("leaves JSON as JSON", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.oneof(fc.webUrl({ withFragments: true }), keys)), (value) => {
        expect(() => JSON.parse(redactor([])(JSON.stringify(value)))).not.toThrow();
      }),
    );
  });

  it("changes nothing where there is nothing to hide, and nothing the second time", () => {
    fc.assert(
      fc.property(fc.string(), keys, (text, key) => {
        expect(redactor([])(text.replaceAll("://", ""))).toBe(text.replaceAll("://", ""));
        const once = redactor([])(`${text}${key}`);
        expect(redactor([])(once)).toBe(once);
      }),
    );
  });
});

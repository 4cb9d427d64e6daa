import { describe, expect, it } from "vitest";
import { environmentForChildren, environmentForCommand } from "../../../src/core/model/child-environment.ts";

describe("the environment of a child process", () => {
  it.each([
    ["http://me:pw@proxy:3128", "http://proxy:3128"],
    ["http://me@corp:p@w/d@proxy:3128/", "http://proxy:3128/"],
    ["me:pw@proxy:3128", "proxy:3128"],
    ["socks5://me:pw@[::1]:1080", "socks5://[::1]:1080"],
    ["http://proxy:3128", "http://proxy:3128"],
    ["", ""],
  ])("has no credentials of a proxy: %s", (value, without) => {
    for (const name of ["HTTPS_PROXY", "https_proxy", "all_proxy", "npm_config_https_proxy"]) {
      expect(environmentForChildren({ [name]: value, PATH: "/bin" })).toEqual({ [name]: without, PATH: "/bin" });
    }
  });

  it("has no secret of keyctl, and everything else", () => {
    const secrets = { OPENROUTER_API_KEY: "a", KEYCTL_STORE: "b", MONGODB_URI: "c", KEYCTL_MASTER_KEYS: "d" };
    const rest = { VAULT_TOKEN: "e", NO_PROXY: "localhost", HOME: "/home/ann" };
    expect(environmentForChildren({ ...secrets, ...rest })).toEqual(rest);
  });
});

describe("the environment of a command with a user's key", () => {
  const managementKey = "management.key-of.a-form/of-its-own";
  const masterKey = "Vx3kQ9_tLw7Zp0RmYcE2uHn-8sJfBd5aGi1oXvT4yKM";
  const secrets = {
    OPENROUTER_PROVISIONING_KEY: managementKey,
    KEYCTL_STORE: "mongodb://admin:Zq7Lm2Xw%209Kf4@db.example/keys",
    MONGO_URI: "mongodb://me:postgres@db.example/keys",
    KEYCTL_COPY_TO: "mongodb://me:short@db.example/keys",
    KEYCTL_MASTER_KEYS: `{"keys":[{"kty":"oct", "k": "${masterKey}"}]}`,
  };

  it.each([
    ["the management key", managementKey],
    ["the management key with blanks around it", ` ${managementKey}\n`],
    ["the management key in a header", `Bearer ${managementKey}`],
    ["the store's password", "Zq7Lm2Xw 9Kf4"],
    ["the store's password as it stands in the URI", "Zq7Lm2Xw%209Kf4"],
    ["the URI of the store", secrets.KEYCTL_STORE],
    ["another URI with its password", "mongodb://admin:Zq7Lm2Xw%209Kf4@db.example/other"],
    ["a short password in a URI", "postgres://me:postgres@db.example/other"],
    ["the master keys", secrets.KEYCTL_MASTER_KEYS],
    ["a master key", masterKey],
  ])("has no variable with %s, unless the key is put into it", (_, value) => {
    expect(environmentForCommand({ ...secrets, COPY: value, HOME: "/home/ann" }, "KEY", "k")).toEqual({
      HOME: "/home/ann",
      KEY: "k",
    });
    expect(environmentForCommand({ ...secrets, COPY: value }, "COPY", "k")).toEqual({ COPY: "k" });
  });

  it("has everything else, also where it resembles a short password", () => {
    const rest = {
      IMAGE: "postgres:16",
      PATH: "/opt/postgres/bin:/usr/bin",
      NOTE: "short",
      URL: "mongodb://me:short@db.example/other",
      DB: "mongodb://db.example/keys",
      EMPTY: "",
    };
    expect(environmentForCommand({ ...secrets, ...rest }, "KEY", "k")).toEqual({ ...rest, KEY: "k" });
    expect(environmentForCommand(rest, "KEY", "k")).toEqual({ ...rest, KEY: "k" });
  });

  it("has no place of master keys, such as the credentials of systemd", () => {
    const places = { CREDENTIALS_DIRECTORY: "/run/credentials/app", KEYCTL_MASTER_KEYS_COMMAND: "pass master" };
    expect(environmentForCommand(places, "KEY", "k")).toEqual({ KEY: "k" });
  });
});

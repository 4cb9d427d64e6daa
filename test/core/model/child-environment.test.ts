import { describe, expect, it } from "vitest";
import { environmentForChildren } from "../../../src/core/model/redact-keys.ts";

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

import { createDecipheriv } from "node:crypto";
import { readFileSync } from "node:fs";

const { keys } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const [header, , ...parts] = readFileSync(0, "utf8").trim().split(".");
const [iv, sealed, tag] = parts.map((part) => Buffer.from(part, "base64url"));
const { kid } = JSON.parse(Buffer.from(header, "base64url").toString());
const key = Buffer.from(keys.find((jwk) => jwk.kid === kid).k, "base64url");
const aes = createDecipheriv("aes-256-gcm", key, iv).setAAD(Buffer.from(header)).setAuthTag(tag);
console.log(aes.update(sealed, undefined, "utf8") + aes.final("utf8"));

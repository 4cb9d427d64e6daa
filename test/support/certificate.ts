import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Tls } from "./mongodb-server.ts";

/** Node cannot make a certificate. */
export const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

/**
 * A certificate that nobody trusts, for the length of the test that calls this.
 * @param name whose it is, in openssl's words
 */
export function selfSigned(name = "IP:127.0.0.1"): Tls {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-certificate-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const files = { certificate: join(folder, "certificate.pem"), key: join(folder, "key.pem") };
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", `subjectAltName=${name}`];
  execFileSync("openssl", ["req", ...kind, ...subject, "-keyout", files.key, "-out", files.certificate], {
    stdio: "ignore",
  });
  return files;
}

/*
 * Failures of a network, a server or a proxy, by the codes of Node, OpenSSL and undici. **Invariant:** an error without such
 * a code is a bug in keyctl or a library, and never counts as a network failure.
 */

/** https://nodejs.org/api/tls.html#x509-certificate-error-codes, and the name for those without a Node code. */
const CERTIFICATE =
  /^(?:CERT_\w+|CRL_\w+|UNABLE_TO_\w+|ERR_TLS_CERT_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED|ERROR_IN_C\w+|UNSPECIFIED)$/;
const TIMED_OUT = /^(?:UND_ERR_(?:CONNECT|HEADERS|BODY)_TIMEOUT|ETIMEDOUT|ERR_SOCKET_CONNECTION_TIMEOUT)$/;
/** `E…` are the system's codes. */
const OTHERS =
  /^(?:E(?!RR_)[A-Z0-9_]+|ERR_(?:SSL|OSSL|SOCKET)_\w+|ERR_TLS_HANDSHAKE_TIMEOUT|ERR_STREAM_(?:DESTROYED|PREMATURE_CLOSE|WRITE_AFTER_END)|UND_ERR_(?:SOCKET|INFO|ABORTED|DESTROYED|CLOSED|HEADERS_OVERFLOW|RES_CONTENT_LENGTH_MISMATCH|RES_EXCEEDED_MAX_SIZE))$/;

export function isNetworkError(error: Error): boolean {
  return isCertificateError(error) || isTimeoutError(error) || isNoHttp(error) || OTHERS.test(networkErrorCode(error));
}

/** The answer was not HTTP; undici has codes for few of these errors. */
export function isNoHttp(error: Error): boolean {
  return error.name === "HTTPParserError";
}

/** The certificate of the other side is not trusted. */
export function isCertificateError(error: Error): boolean {
  return CERTIFICATE.test(networkErrorCode(error));
}

export function isTimeoutError(error: Error): boolean {
  return TIMED_OUT.test(networkErrorCode(error));
}

/** Only the code of an error may be shown: its message may hold what was sent. Empty without a code. */
export function networkErrorCode(error: Error): string {
  const code = "code" in error ? error.code : undefined;
  return typeof code === "string" && /^[A-Z0-9_]{1,60}$/.test(code) ? code : "";
}

/** What to do about a certificate that is not trusted, by the code of the error. */
export function certificateRemedy(code: string): string {
  if (/EXPIRED|NOT_YET_VALID/.test(code))
    return "check this machine's clock; if it is right, the certificate must be renewed";
  if (/ALTNAME|HOSTNAME/.test(code)) return "check the host name: the certificate is for another one";
  return "NODE_EXTRA_CA_CERTS=<file> names an authority of your own; NODE_TLS_REJECT_UNAUTHORIZED is ignored";
}

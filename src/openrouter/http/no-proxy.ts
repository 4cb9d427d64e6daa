import { BlockList, isIP } from "node:net";
import { domainToASCII } from "node:url";

/** What `NO_PROXY` is compared with. */
export interface Target {
  /** As `URL.hostname` gives it: in lower case, an IPv6 address in brackets. */
  readonly hostname: string;
  readonly port: number;
}

const SEPARATORS = /[\s,]+/;
const BRACKETED = /^\[(?<host>[^\]]*)\](?::(?<port>\d{1,5}))?$/;
const WITH_PORT = /^(?<host>[^:]*):(?<port>\d{1,5})$/;
/** `domainToASCII` drops the other parts of a URL. */
const NAME = /^(?:\*?\.)?(?<domain>[^/\\?#@:]+)$/;
const RANGE = /^(?<address>[^/]+)\/(?<bits>\d{1,3})$/;

/**
 * Whether a `NO_PROXY` list exempts this target from the proxy. Entries are separated by commas or white space:
 * `example.com`, `.example.com` and `*.example.com` each cover the name and its subdomains; an address covers itself, a
 * CIDR range its addresses; `:<port>` limits an entry to that port; `*` covers everything. Case does not matter. As in
 * curl and Go, no name is looked up: addresses and ranges cover only targets that are named by their address. An entry
 * that is none of these covers nothing.
 */
export function isExempt(target: Target, list: string): boolean {
  return list.split(SEPARATORS).some((entry) => covers(entry, target));
}

function covers(entry: string, { hostname, port }: Target): boolean {
  if (entry === "*") return true;
  const parts = (BRACKETED.exec(entry) ?? (isIP(entry) === 0 ? WITH_PORT.exec(entry) : null))?.groups;
  if (parts?.["port"] !== undefined && Number(parts["port"]) !== port) return false;
  const named = parts?.["host"] ?? entry;
  const address = hostname.replace(/^\[(.*)\]$/, "$1");
  return isIP(address) === 0 ? coversName(named, hostname) : coversAddress(named, address);
}

function coversName(named: string, hostname: string): boolean {
  const domain = withoutLastDot(domainToASCII(NAME.exec(named)?.groups?.["domain"] ?? ""));
  const name = withoutLastDot(hostname);
  return domain !== "" && (name === domain || name.endsWith(`.${domain}`));
}

function coversAddress(named: string, address: string): boolean {
  const { address: first = named, bits } = RANGE.exec(named)?.groups ?? {};
  const size = isIP(first) === 4 ? 32 : 128;
  if (isIP(first) === 0 || Number(bits ?? size) > size) return false;
  const range = new BlockList();
  range.addSubnet(first, Number(bits ?? size), familyOf(first));
  return range.check(address, familyOf(address));
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 4 ? "ipv4" : "ipv6";
}

function withoutLastDot(name: string): string {
  return name.replace(/\.$/, "");
}

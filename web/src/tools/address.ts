/** Addresses that a model or a person gives: which may be asked, and what to say of them before. Pure. */
import type { CallWarning } from "./types.ts";

export type AddressFault =
  /** It cannot be read as one. */
  | "none"
  /** http: to another machine, which this page may not ask. */
  | "unencrypted"
  /** Neither https: nor http:. */
  | "scheme"
  /** It holds a name or password. */
  | "credentials";

export class InvalidAddress extends Error {
  override readonly name = "InvalidAddress";
  readonly fault: AddressFault;

  constructor(fault: AddressFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** @throws InvalidAddress saying what is wrong with it, for a model. */
export function readAddress(text: unknown): URL {
  const address = typeof text === "string" ? URL.parse(text.trim()) : null;
  if (address === null) {
    const shown = typeof text === "string" ? JSON.stringify(text.slice(0, 200)) : "That";
    throw new InvalidAddress(
      "none",
      `${shown} is no address; write it in full, such as https://example.org/page.`,
    );
  }
  const isHere = address.protocol === "http:" && isThisMachine(address.hostname);
  if (address.protocol === "http:" && !isHere) {
    throw new InvalidAddress(
      "unencrypted",
      `${address.href.slice(0, 200)} is not encrypted; this page can read https: addresses only. Try https:.`,
    );
  }
  if (address.protocol !== "https:" && !isHere) {
    throw new InvalidAddress(
      "scheme",
      `Only https: addresses can be read, not ${address.protocol.slice(0, 40)}.`,
    );
  }
  if (address.username !== "" || address.password !== "") {
    throw new InvalidAddress(
      "credentials",
      "The address holds a name or password; leave them out.",
    );
  }
  return address;
}

/** What a person should know before that address is asked. */
export function warningsOf(address: URL): readonly CallWarning[] {
  const warnings: CallWarning[] = [];
  if (isPrivate(address.hostname)) {
    warnings.push("private-address");
  }
  if (address.search !== "") {
    warnings.push("carries-text");
  }
  return warnings;
}

export function isThisMachine(hostname: string): boolean {
  return hostname === "localhost" || hostname === "127.0.0.1";
}

/** Whether a host is within the person's own network or machine, as far as its name tells. */
export function isPrivate(hostname: string): boolean {
  const name = hostname.toLowerCase().replace(/\.$/, "");
  if (/(^|\.)(localhost|local|internal|lan|home|corp|intranet|home\.arpa)$/.test(name)) {
    return true;
  }
  if (name.startsWith("[")) {
    return isPrivateV6(name.slice(1, -1));
  }
  // `URL` has brought every spelling of an IPv4 address (0x7f.1, 2130706433) to this one.
  const parts = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(name)?.slice(1).map(Number);
  if (parts === undefined) {
    return !name.includes(".");
  }
  return isPrivateV4(parts);
}

/** Special-purpose addresses of RFC 6890 that no host of the internet has. */
function isPrivateV4([a = 0, b = 0]: readonly number[]): boolean {
  return (
    a === 0 ||
    a === 10 ||
    a === 127 ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168) ||
    a >= 224
  );
}

function isPrivateV6(text: string): boolean {
  // Of IPv4 in IPv6, `URL` writes the last 32 bits as two hexadecimal groups.
  const mapped = /^::(?:ffff:)?([\da-f]{1,4}):([\da-f]{1,4})$/.exec(text);
  if (mapped !== null) {
    const high = Number.parseInt(mapped[1] ?? "", 16);
    const low = Number.parseInt(mapped[2] ?? "", 16);
    return isPrivateV4([high >> 8, high & 255, low >> 8, low & 255]);
  }
  const first = Number.parseInt(text.split(":")[0] ?? "", 16);
  return (
    text === "::" ||
    text === "::1" ||
    // Unique local, link-local, multicast (RFC 4193, 4291).
    (first & 0xfe00) === 0xfc00 ||
    (first & 0xffc0) === 0xfe80 ||
    first >> 8 === 0xff
  );
}

/**
 * Which IP addresses are public. Written as the list of what is global unicast, because a list of what is bad is never
 * complete: whatever no line below names is not public.
 *
 * IPv6 can carry an IPv4 address inside (mapped, NAT64, 6to4, Teredo, ISATAP …), and a gateway on the way would unpack
 * it. Two of these forms lead to ordinary hosts and are judged by the address inside: mapped ones, which the operating
 * system itself connects over IPv4, and the well-known NAT64 prefix, through which IPv6-only networks reach everything.
 * All others lie outside of the global list; ISATAP alone hides behind any prefix and is therefore looked for.
 */
import { isIP, isIPv4 } from "node:net";

/** An address as a number, in the family that packets to it really use. */
export interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A block of addresses, for example `10.0.0.0/8`. */
export interface AddressBlock {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

/** Reads one strictly written address (dotted quad, or IPv6 without a zone); mapped IPv4 comes back as IPv4. */
export function parseAddress(text: string): Address | undefined {
  if (isIP(text) === 0 || text.includes("%")) return undefined;
  if (isIPv4(text)) return { family: 4, value: readIpv4(text) };
  const value = readIpv6(text);
  return value >> 32n === 0xffffn ? { family: 4, value: low32(value) } : { family: 6, value };
}

/** Reads `10.0.0.0/8` or one address, which is a block of one. */
export function parseAddressBlock(text: string): AddressBlock | undefined {
  const [base = "", bitsText, ...rest] = text.split("/");
  const address = parseAddress(base);
  if (!address || rest.length > 0) return undefined;
  const width = address.family === 4 ? 32 : 128;
  if (bitsText !== undefined && !/^\d{1,3}$/.test(bitsText)) return undefined;
  const bits = bitsText === undefined ? width : Number(bitsText);
  if (bits > width || (address.family === 4 && base.includes(":"))) return undefined;
  const size = 1n << BigInt(width - bits);
  const first = address.value - (address.value % size);
  return { family: address.family, first, last: first + size - 1n };
}

export function blockContains(block: AddressBlock, address: Address): boolean {
  return block.family === address.family && block.first <= address.value && address.value <= block.last;
}

/** Whether packets to this address go to a public host, and to nothing else. */
export function isGlobalUnicast(address: Address): boolean {
  if (address.family === 4) return isListed(globalIpv4, address);
  if (blockContains(nat64, address)) return isListed(globalIpv4, { family: 4, value: low32(address.value) });
  return isListed(globalIpv6, address) && !isIsatap(address.value);
}

/** Loopback of this machine, in both families, and "any address", which the operating system turns into loopback. */
export function isLoopback(address: Address): boolean {
  return isListed(loopback, address);
}

/** Never a host that an operator means by a name: any, link-local (cloud metadata lives there), multicast, reserved. */
export function isNeverNamed(address: Address): boolean {
  return isListed(neverNamed, address);
}

/** 200 and 0 are the two interface identifiers of ISATAP (RFC 5214): `…:0:5efe:a.b.c.d`, `…:200:5efe:a.b.c.d`. */
function isIsatap(value: bigint): boolean {
  const marker = (value >> 32n) & 0xffff_ffffn;
  return marker === 0x0000_5efen || marker === 0x0200_5efen;
}

function isListed(blocks: readonly AddressBlock[], address: Address): boolean {
  return blocks.some((block) => blockContains(block, address));
}

function readIpv4(text: string): bigint {
  return text.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

/** Of text that `isIP` has accepted. Written here because a library read `::10.0.0.1` as the mapped `::ffff:10.0.0.1`. */
function readIpv6(text: string): bigint {
  const hex = text.replace(/\d+\.\d+\.\d+\.\d+$/, (tail) => {
    const value = readIpv4(tail);
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  });
  const [left = [], right = []] = hex.split("::").map((half) => half.split(":").filter((group) => group !== ""));
  const zeros = Array<string>(8 - left.length - right.length).fill("0");
  return [...left, ...zeros, ...right].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function low32(value: bigint): bigint {
  return value & 0xffff_ffffn;
}

function range(firstText: string, lastText: string): AddressBlock {
  const first = parseAddress(firstText);
  const last = parseAddress(lastText);
  if (!first || !last || first.family !== last.family) throw new Error(`not a range of addresses: ${firstText} ${lastText}`);
  return { family: first.family, first: first.value, last: last.value };
}

/** The gaps are the entries of the IANA IPv4 special-purpose registry, and 168.63.129.16 (a cloud's host agent). */
const globalIpv4 = [
  range("1.0.0.0", "9.255.255.255"), // then 10/8 private
  range("11.0.0.0", "100.63.255.255"), // then 100.64/10 shared by carriers
  range("100.128.0.0", "126.255.255.255"), // then 127/8 loopback
  range("128.0.0.0", "168.63.129.15"),
  range("168.63.129.17", "169.253.255.255"), // then 169.254/16 link-local
  range("169.255.0.0", "172.15.255.255"), // then 172.16/12 private
  range("172.32.0.0", "191.255.255.255"), // then 192.0.0/24 protocol assignments
  range("192.0.1.0", "192.0.1.255"), // then 192.0.2/24 documentation
  range("192.0.3.0", "192.88.98.255"), // then 192.88.99/24 6to4 relays
  range("192.88.100.0", "192.167.255.255"), // then 192.168/16 private
  range("192.169.0.0", "198.17.255.255"), // then 198.18/15 benchmarking
  range("198.20.0.0", "198.51.99.255"), // then 198.51.100/24 documentation
  range("198.51.101.0", "203.0.112.255"), // then 203.0.113/24 documentation
  range("203.0.114.0", "223.255.255.255"), // then multicast and reserved
];

/** 2000::/3 without 2001::/23 (Teredo, ORCHID, benchmarking), documentation, 2002::/16 (6to4) and the returned 3ffe::/16. */
const globalIpv6 = [
  range("2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"),
  range("2001:db9::", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
  range("2003::", "3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/** Only the well-known /96. 64:ff9b:1::/48 is for local use: what stands behind it is somebody's own network. */
const nat64 = range("64:ff9b::", "64:ff9b::ffff:ffff");

const loopback = [range("0.0.0.0", "0.255.255.255"), range("127.0.0.0", "127.255.255.255"), range("::", "::1")];

const neverNamed = [
  range("0.0.0.0", "0.255.255.255"),
  range("169.254.0.0", "169.254.255.255"),
  range("224.0.0.0", "255.255.255.255"),
  range("::", "::"),
  range("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
  range("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/**
 * Where steps may connect to. Public addresses on well-known ports are open to everyone; an operator may open named
 * private targets (`PAWF_EGRESS_ALLOW`); our own ports and the database are never reachable, whatever is opened.
 */
import { networkInterfaces } from "node:os";
import { type Address, type AddressBlock, blockContains, isGlobalUnicast, isLoopback, isNeverNamed, parseAddress, parseAddressBlock } from "./address.ts";

export interface EgressRuleOptions {
  /** `127.0.0.1:9001`, `localhost:*`, `10.0.0.0/8:8080`, `[fd00::/8]:443`, `orders.internal:80`. */
  readonly allow: readonly string[];
  /** Ports open on public addresses beside 80, 443, 8080 and 8443. */
  readonly ports: readonly number[];
  /** Ports of this process: closed on every address of this machine. */
  readonly forbiddenPorts: ReadonlySet<number>;
  /** Targets that stay closed even if `allow` names them (the database); same form as `allow`. */
  readonly forbidden: readonly string[];
}

/** Every address of a host name, as text. */
export type LookUp = (hostname: string) => Promise<readonly string[]>;

export interface EgressRules {
  /** Why this URL is refused before any look-up, or undefined. The text is for our log; tenants get one sentence for all. */
  refusalOf(url: URL): string | undefined;
  /** The address if a connection to it is allowed. `address` is what `hostname` resolved to, or the literal itself. */
  admits(hostname: string, port: number, address: Address): boolean;
  /** Whether an entry of the operator opens it, not merely that it is public. */
  isNamed(hostname: string, port: number, address: Address): boolean;
  /** Whether one of these addresses is a forbidden target. Separate because forbidden names must be looked up too. */
  isForbidden(hostname: string, port: number, addresses: readonly Address[]): Promise<boolean>;
}

interface Target {
  /** undefined: every port. */
  readonly port: number | undefined;
  readonly block: AddressBlock | undefined;
  readonly hostname: string | undefined;
}

const urlCharactersMax = 8_192;
const openPorts = [80, 443, 8080, 8443];

/** Names that only mean something inside a network. Looking them up for a tenant would tell which of them exist. */
const insideName = /^[^.]+$|(?:^|\.)(?:localhost|local|internal|intranet|private|corp|home|lan|svc|home\.arpa|in-addr\.arpa|ip6\.arpa)$/;

export function createEgressRules(options: EgressRuleOptions, lookUp: LookUp): EgressRules {
  const allowed = options.allow.map(parseTarget);
  const forbidden = options.forbidden.map(parseTarget);
  const ports = new Set([...openPorts, ...options.ports]);
  const ownPorts = options.forbiddenPorts;

  function allowsByEntry(hostname: string, port: number, address: Address): boolean {
    return allowed.some((target) => {
      if (target.port !== undefined && target.port !== port) return false;
      if (target.block) return blockContains(target.block, address);
      return target.hostname === hostname && !isNeverNamed(address);
    });
  }

  return {
    refusalOf(url) {
      const hostname = hostnameOf(url);
      const port = portOf(url);
      if (url.href.length > urlCharactersMax) return `is longer than ${urlCharactersMax} characters`;
      if (url.protocol !== "http:" && url.protocol !== "https:") return "is neither http nor https";
      if (url.username !== "" || url.password !== "") return "carries a user name or password";
      if (hostname === "") return "names no host";
      const opened = allowed.some((target) => {
        return (target.port ?? port) === port && (target.hostname === undefined || target.hostname === hostname);
      });
      if (!opened && !ports.has(port)) return `port ${port} is closed`;
      if (!opened && insideName.test(hostname) && !parseAddress(hostname)) return "is a name inside a network";
      return undefined;
    },
    admits(hostname, port, address) {
      return allowsByEntry(hostname, port, address) || (ports.has(port) && isGlobalUnicast(address));
    },
    isNamed: allowsByEntry,
    async isForbidden(hostname, port, addresses) {
      if (ownPorts.has(port) && addresses.some(isOfThisMachine)) return true;
      for (const target of forbidden) {
        if (target.port !== undefined && target.port !== port) continue;
        const { block } = target;
        if (block && addresses.some((address) => blockContains(block, address))) return true;
        if (target.hostname === undefined) continue;
        if (target.hostname === hostname) return true;
        const theirs = await lookUp(target.hostname).catch(() => []);
        if (theirs.some((text) => addresses.some((address) => isSame(address, parseAddress(text))))) return true;
      }
      return false;
    },
  };
}

/** Whether `rules` refuse this URL whatever its name resolves to. */
export function refusesUrl(rules: EgressRules, url: URL): boolean {
  if (rules.refusalOf(url) !== undefined) return true;
  const literal = parseAddress(hostnameOf(url));
  return literal !== undefined && !rules.admits(hostnameOf(url), portOf(url), literal);
}

/** What a tenant is told when no connection came about, whichever of these it was. */
export const noConnection = "no connection, nothing was sent: the host is unknown, does not answer, or is not open to steps";

/** Host name as the rules compare it: lower case, IPv6 without brackets, no final dots. */
export function hostnameOf(url: URL): string {
  return url.hostname
    .replace(/^\[|\]$/g, "")
    .replace(/\.+$/, "")
    .toLowerCase();
}

function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port);
  return url.protocol === "https:" ? 443 : 80;
}

function isOfThisMachine(address: Address): boolean {
  if (isLoopback(address)) return true;
  const own = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return own.some((entry) => isSame(address, parseAddress(entry.address.replace(/%.*$/, ""))));
}

function isSame(one: Address, other: Address | undefined): boolean {
  return other !== undefined && one.family === other.family && one.value === other.value;
}

/** Throws when an entry of `allow` cannot be read, with how it is written. */
export function checkTarget(entry: string): void {
  parseTarget(entry);
}

/** Throws on an entry that cannot be read: a rule that is silently ignored is worse than a server that does not start. */
function parseTarget(entry: string): Target {
  const match = /^(\[[^\]]+\]|[^:[\]]+):(\*|\d{1,5})$/.exec(entry.trim());
  const host = match?.[1]?.replace(/^\[|\]$/g, "").toLowerCase();
  const port = match?.[2] === "*" ? undefined : Number(match?.[2]);
  if (host === undefined || (port !== undefined && (port < 1 || port > 65_535))) {
    throw new Error(`egress entry "${entry}" cannot be read: write host:port, address:port or block:port (port * for all, IPv6 in [])`);
  }
  const block = parseAddressBlock(host);
  if (block) return { port, block, hostname: undefined };
  if (!/^[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?$/.test(host)) throw new Error(`egress entry "${entry}" names no host, address or block`);
  return { port, block: undefined, hostname: host };
}

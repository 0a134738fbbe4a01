/**
 * Opens sockets for the HTTP client, and only to addresses that the rules admit. The host is resolved once, *every*
 * address of it must pass, and the socket goes to the vetted address itself: a second look-up could answer differently
 * (DNS rebinding). IP literals take the same way, since no look-up hook is ever asked about them.
 */
import { lookup } from "node:dns/promises";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { buildConnector } from "undici";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import { type Address, parseAddress } from "./address.ts";
import type { EgressRules, LookUp } from "./egress-rules.ts";

/** The target is not allowed. Its message is for our log and must not reach a tenant. */
export class EgressRefusedError extends Error {
  override readonly name = "EgressRefusedError";
}

interface Vetted {
  readonly text: string;
  readonly address: Address;
}

/** The system's resolver: hosts file and DNS, IPv4 first because IPv6 routes are missing in many containers. */
export const systemLookUp: LookUp = async (hostname) => {
  const answers = await lookup(hostname, { all: true, order: "ipv4first" });
  return answers.map((answer) => answer.address);
};

export interface VettedConnectorParts {
  readonly rules: EgressRules;
  readonly lookUp: LookUp;
  readonly clock: Clock;
  /** Look-up, TCP and TLS handshake together, over all addresses of the host. */
  readonly connectTimeoutMs: number;
}

export function createVettedConnector({ rules, lookUp, clock, connectTimeoutMs }: VettedConnectorParts): buildConnector.connector {
  const open = buildConnector({ timeout: connectTimeoutMs, allowH2: false, rejectUnauthorized: true });

  async function connect(options: buildConnector.Options): Promise<Socket | TLSSocket> {
    const hostname = options.hostname.replace(/\.+$/, "").toLowerCase();
    const port = Number(options.port) || (options.protocol === "https:" ? 443 : 80);
    const startedAt = clock.monotonic();
    const vetted = await within(connectTimeoutMs, vet(rules, lookUp, hostname, port));
    let lastError: unknown = new Error("no address");
    for (const [index, target] of vetted.entries()) {
      const leftMs = connectTimeoutMs - (clock.monotonic() - startedAt);
      const shareMs = leftMs / (vetted.length - index);
      if (shareMs <= 0) break;
      try {
        return await openTo(open, options, target, shareMs);
      } catch (error) {
        if (error instanceof EgressRefusedError) throw error;
        lastError = error;
      }
    }
    throw lastError;
  }

  return (options, callback) => {
    connect(options).then(
      (socket) => callback(null, socket),
      // Wrapped, because undici retries some codes by itself, without end.
      (error: unknown) => callback(error instanceof EgressRefusedError ? error : new Error(`no connection: ${messageOf(error)}`, { cause: error }), null),
    );
  };
}

async function vet(rules: EgressRules, lookUp: LookUp, hostname: string, port: number): Promise<Vetted[]> {
  const texts = parseAddress(hostname) ? [hostname] : await lookUp(hostname);
  const vetted = texts.map((text) => {
    const address = parseAddress(text);
    if (!address || !rules.admits(hostname, port, address)) {
      throw new EgressRefusedError(`${hostname} leads to ${text}, port ${port}, which is not open`);
    }
    return { text, address };
  });
  if (
    await rules.isForbidden(
      hostname,
      port,
      vetted.map(({ address }) => address),
    )
  ) {
    throw new EgressRefusedError(`${hostname} port ${port} is one of our own`);
  }
  return vetted;
}

function openTo(open: buildConnector.connector, options: buildConnector.Options, target: Vetted, timeoutMs: number): Promise<Socket | TLSSocket> {
  return new Promise((resolve, reject) => {
    let socket: Socket | TLSSocket | undefined;
    const timer = setTimeout(() => {
      socket?.destroy();
      reject(new Error("connect timeout"));
    }, timeoutMs);
    // Cleartext connections carry no server name; TLS verifies the certificate against the name, not the address.
    const servername = options.protocol === "https:" ? options.servername : undefined;
    const { servername: _, ...rest } = options;
    const opening = open({ ...rest, ...(servername ? { servername } : {}), hostname: target.text }, (error, opened) => {
      clearTimeout(timer);
      if (error) return reject(error);
      const peer = parseAddress(opened.remoteAddress ?? "");
      if (peer?.value === target.address.value && peer.family === target.address.family) return resolve(opened);
      opened.destroy();
      reject(new EgressRefusedError(`connected to ${opened.remoteAddress} instead of ${target.text}`));
    }) as unknown;
    socket = opening as Socket | undefined;
  });
}

async function within<Value>(timeoutMs: number, work: Promise<Value>): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("look-up timeout")), timeoutMs);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

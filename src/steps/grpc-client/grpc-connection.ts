/**
 * One HTTP/2 connection to a vetted address. It counts as open only when the other side has sent its settings: whatever fails
 * before that moment surely carried no request, and a server that speaks no HTTP/2 is found out without being asked anything.
 */
import { type ClientHttp2Session, connect as connectHttp2, constants } from "node:http2";
import type { Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { buildConnector } from "undici";

/** Header block of an answer, 16 KiB, as the HTTP client allows. */
const headerBytesMax = 16 * 1024;

export interface ConnectionParts {
  readonly connector: buildConnector.connector;
  /** Look-up and TCP, then TLS and settings: each may take so long. */
  readonly connectTimeoutMs: number;
  /** Certificate authorities in PEM [those of Node, NODE_EXTRA_CA_CERTS included]. */
  readonly ca?: string | undefined;
}

/** Rejects with what the connector says, or with an Error when TLS or HTTP/2 is not spoken. */
export async function openConnection(parts: ConnectionParts, origin: URL): Promise<ClientHttp2Session> {
  const hostname = origin.hostname.replace(/^\[|\]$/g, "");
  const isTls = origin.protocol === "https:";
  const port = origin.port === "" ? (isTls ? "443" : "80") : origin.port;
  const socket = await new Promise<Socket>((resolve, reject) => {
    // The TLS of gRPC asks for h2, so only the TCP part is left to the connector.
    parts.connector({ hostname, host: origin.host, protocol: "http:", port }, (error, opened) => (opened ? resolve(opened as Socket) : reject(error)));
  });
  const deadline = setTimeout(() => socket.destroy(new Error("the handshake took too long")), parts.connectTimeoutMs);
  try {
    return await openSession(origin, isTls ? await secure(socket, hostname, parts.ca) : socket);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(deadline);
  }
}

function secure(socket: Socket, hostname: string, ca: string | undefined): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const isName = !/^[\d.]+$|:/.test(hostname);
    const secured = connectTls({
      socket,
      rejectUnauthorized: true,
      ALPNProtocols: ["h2"],
      host: hostname,
      ...(isName ? { servername: hostname } : {}),
      ...(ca ? { ca } : {}),
    });
    secured.once("error", reject);
    secured.once("close", () => reject(new Error("the connection was closed during the TLS handshake")));
    secured.once("secureConnect", () => {
      if (secured.alpnProtocol === "h2") return resolve(secured);
      secured.destroy();
      reject(new Error("the server does not speak HTTP/2"));
    });
  });
}

function openSession(origin: URL, socket: Socket): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(origin, {
      createConnection: () => socket,
      settings: { enablePush: false, maxHeaderListSize: headerBytesMax },
      maxSessionMemory: 16,
    });
    // Stays for the connection's life: an error without a listener would end the process.
    session.on("error", (error) => reject(error));
    session.once("close", () => reject(new Error("the connection was closed before HTTP/2 settings came")));
    session.once("goaway", () => session.close());
    session.once("remoteSettings", () => resolve(session));
  });
}

/** Whether the server says that it has not looked at the request. */
export function isRefusedStream(code: number | undefined): boolean {
  return code === constants.NGHTTP2_REFUSED_STREAM;
}

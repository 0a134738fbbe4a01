/**
 * One cleartext port for HTTP/1.1 and HTTP/2. The first three bytes decide: `PRI` opens every HTTP/2 connection and no
 * HTTP/1.1 request. Undecided bytes are kept here, because pushing them back and waiting for more spins; once decided
 * they go back into the socket, which is handed to one of two servers that never listen themselves.
 */
import { createServer as createHttp1Server } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, createServer as createNetServer, type Socket } from "node:net";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { NodeRequest, NodeResponse } from "./http-routes.ts";
import { type Sessions, watchSessions } from "./sessions.ts";
import type { TransportLimits } from "./transport-limits.ts";

export interface ListenerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly limits: TransportLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly onRequest: (request: NodeRequest, response: NodeResponse, sessions: Sessions) => void;
}

export interface Listener {
  readonly port: number;
  /** Clients learn that the server stops; calls are still taken on open connections. */
  announceEnd(): void;
  /** No new calls. Open ones go on. */
  close(): void;
  /** Cuts every connection. Resolves when the port is free. */
  destroy(): Promise<void>;
}

const http2Prefix = Buffer.from("PRI");

/** Opens the port. Rejects with one sentence when it is taken or not allowed. */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { limits } = options;
  const sockets = new Set<Socket>();
  const perPeer = new Map<string, number>();

  const http2 = createHttp2Server({
    settings: { maxConcurrentStreams: limits.streamsPerConnectionMax, maxHeaderListSize: limits.headerBytesMax },
    streamResetBurst: limits.resetsPerMinuteMax,
    streamResetRate: Math.max(1, Math.round(limits.resetsPerMinuteMax / 60)),
    maxSessionMemory: 32,
  });
  const http1 = createHttp1Server({
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: limits.handshakeMsMax,
    requestTimeout: limits.bodyMsMax,
    keepAliveTimeout: limits.idleMsMax,
    connectionsCheckingInterval: limits.sweepMs,
  });
  const sessions = watchSessions(http2, limits, options.clock);
  http2.on("request", (request, response) => options.onRequest(request, response, sessions));
  http1.on("request", (request, response) => options.onRequest(request, response, sessions));
  http2.on("sessionError", () => undefined);
  // Without this event http1 starts no timeouts and closes no idle connections.
  http1.emit("listening");

  const net = createNetServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    if (!admit(socket)) return;
    sniff(socket, limits.handshakeMsMax, (isHttp2) => {
      if (isHttp2) return http2.emit("connection", socket); // takes what was pushed back by itself
      http1.emit("connection", socket);
      return socket.resume();
    });
  });
  net.maxConnections = limits.connectionsMax;

  function admit(socket: Socket): boolean {
    const peer = socket.remoteAddress ?? "";
    const open = perPeer.get(peer) ?? 0;
    if (open >= limits.connectionsPerPeerMax) {
      options.log.warn({ peer, connections: open }, "a peer has too many connections; a new one was refused");
      socket.destroy();
      return false;
    }
    perPeer.set(peer, open + 1);
    sockets.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      const left = (perPeer.get(peer) ?? 1) - 1;
      if (left === 0) perPeer.delete(peer);
      else perPeer.set(peer, left);
    });
    return true;
  }

  await new Promise<void>((resolve, reject) => {
    net.once("error", (error) => reject(listenError(error, options)));
    net.listen(options.port, options.host, resolve);
  });
  net.on("error", (error) => options.log.error({ err: error }, "the port met an error"));
  const closed = new Promise<void>((resolve) => net.once("close", () => resolve()));

  return {
    port: (net.address() as AddressInfo).port,
    announceEnd() {
      net.close();
      sessions.announceEnd();
      http1.closeIdleConnections();
    },
    close() {
      net.close();
      sessions.close();
      http1.closeIdleConnections();
    },
    async destroy() {
      net.close();
      http1.close();
      sessions.destroy();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Waits for the bytes that tell the protocol; closes the socket when they do not come in time. */
function sniff(socket: Socket, msMax: number, decided: (isHttp2: boolean) => unknown): void {
  let seen = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), msMax);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off("data", onData).off("end", onEnd).off("close", stop);
  };
  const onEnd = (): void => {
    stop();
    socket.destroy();
  };
  function onData(chunk: Buffer): void {
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, http2Prefix.length);
    const looksLikeHttp2 = seen.subarray(0, length).equals(http2Prefix.subarray(0, length));
    if (looksLikeHttp2 && length < http2Prefix.length) return;
    stop();
    socket.pause();
    socket.unshift(seen);
    decided(looksLikeHttp2);
  }
  socket.on("data", onData).on("end", onEnd).on("close", stop);
}

function listenError(error: NodeJS.ErrnoException, options: ListenerOptions): Error {
  const place = `${options.host}:${options.port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new Error(`Port ${options.port} on ${options.host} is already in use. Stop the program that uses it, or set PORT to another one.`);
    case "EACCES":
      return new Error(`Listening on ${place} is not allowed. Set PORT to one above 1023.`);
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new Error(`${options.host} is not an address of this machine.`);
    default:
      return new Error(`Cannot listen on ${place}: ${error.message}`);
  }
}

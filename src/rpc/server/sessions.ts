/**
 * Watches over HTTP/2 connections: the preface must be finished in time, idle ones are closed, dead ones are found by
 * pings, and peers that send only control frames are shown the door.
 */
import { constants, type Http2Server, type Http2Session, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Clock } from "../../base/clock.ts";
import type { TransportLimits } from "./transport-limits.ts";

interface SessionState {
  readonly openedAt: number;
  isReady: boolean;
  streams: number;
  activeAt: number;
  /** A ping of ours is on its way since then. */
  pingSentAt: number | undefined;
  /** Control frames since `controlSince`, forgotten when an answer flows. */
  controlFrames: number;
  controlSince: number;
}

export interface Sessions {
  /** Notes that an answer flows on this connection. */
  touch(session: Http2Session | undefined): void;
  /** First step of stopping: clients learn not to begin new calls here; late ones are still answered. */
  announceEnd(): void;
  /** Second step: no new calls; each connection closes with its last one. */
  close(): void;
  destroy(): void;
}

const lastStreamId = 2 ** 31 - 1;

export function watchSessions(server: Http2Server, limits: TransportLimits, clock: Clock): Sessions {
  const states = new Map<ServerHttp2Session, SessionState>();
  let isEnding = false;

  server.on("session", (session) => {
    const now = clock.monotonic();
    const state: SessionState = { openedAt: now, isReady: false, streams: 0, activeAt: now, pingSentAt: undefined, controlFrames: 0, controlSince: now };
    states.set(session, state);
    session.on("close", () => states.delete(session));
    session.on("error", () => session.destroy());
    session.on("remoteSettings", () => {
      state.isReady = true;
      countControl(session, state);
    });
    session.on("ping", () => countControl(session, state));
    session.on("stream", (stream) => countStream(stream, state));
    if (isEnding) session.close();
  });

  function countStream(stream: ServerHttp2Stream, state: SessionState): void {
    state.streams++;
    state.activeAt = clock.monotonic();
    stream.once("close", () => {
      state.streams--;
      state.activeAt = clock.monotonic();
    });
  }

  function countControl(session: ServerHttp2Session, state: SessionState): void {
    const now = clock.monotonic();
    if (now - state.controlSince >= 60_000) {
      state.controlSince = now;
      state.controlFrames = 0;
    }
    state.controlFrames++;
    if (state.controlFrames > limits.controlFramesPerMinuteMax && !session.destroyed) {
      session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      session.destroy();
    }
  }

  function sweep(): void {
    const now = clock.monotonic();
    for (const [session, state] of states) {
      if (!state.isReady) {
        if (now - state.openedAt >= limits.handshakeMsMax) session.destroy();
      } else if (state.pingSentAt !== undefined) {
        if (now - state.pingSentAt >= limits.sweepMs) session.destroy();
      } else if (state.streams === 0) {
        if (now - state.activeAt >= limits.idleMsMax) session.close();
      } else if (now - state.activeAt >= limits.pingAfterMs) ping(session, state, now);
    }
  }

  function ping(session: ServerHttp2Session, state: SessionState, now: number): void {
    if (session.closed || session.destroyed) return;
    state.pingSentAt = now;
    session.ping((error) => {
      if (error) return;
      state.pingSentAt = undefined;
      state.activeAt = clock.monotonic();
    });
  }

  const timer = setInterval(sweep, limits.sweepMs);
  timer.unref();

  return {
    touch(session) {
      const state = states.get(session as ServerHttp2Session);
      if (!state) return;
      state.activeAt = clock.monotonic();
      state.controlFrames = 0;
    },
    announceEnd() {
      isEnding = true;
      for (const session of states.keys()) if (!session.destroyed && !session.closed) session.goaway(constants.NGHTTP2_NO_ERROR, lastStreamId);
    },
    close() {
      for (const session of states.keys()) if (!session.destroyed) session.close();
    },
    destroy() {
      clearInterval(timer);
      for (const session of [...states.keys()]) session.destroy();
    },
  };
}

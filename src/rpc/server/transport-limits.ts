/** Bounds of the open port: what a peer may cost before anybody knows who it is. */
export interface TransportLimits {
  /** Time to send the first bytes, and for HTTP/2 the whole preface with its settings. */
  readonly handshakeMsMax: number;
  /** Time to send a whole request after its headers; a half-sent body holds memory. */
  readonly bodyMsMax: number;
  /** A connection without calls is closed after this. */
  readonly idleMsMax: number;
  /** Silence on an HTTP/2 connection with open calls before it is pinged; unanswered until the next round = dead. */
  readonly pingAfterMs: number;
  /** How often idle and dead connections are looked for. */
  readonly sweepMs: number;
  readonly connectionsPerPeerMax: number;
  readonly connectionsMax: number;
  readonly streamsPerConnectionMax: number;
  /** Streams that a peer may reset per minute. */
  readonly resetsPerMinuteMax: number;
  /** Pings and settings frames per minute on a connection that carries no answers meanwhile. */
  readonly controlFramesPerMinuteMax: number;
  readonly headerBytesMax: number;
  readonly queryCharactersMax: number;
  /** Time between the announcement that the server stops and the end of taking calls on open connections. */
  readonly goawayMs: number;
}

export const transportLimits: TransportLimits = {
  handshakeMsMax: 10_000,
  bodyMsMax: 30_000,
  idleMsMax: 5 * 60_000,
  pingAfterMs: 30_000,
  sweepMs: 5_000,
  connectionsPerPeerMax: 256,
  connectionsMax: 4_096,
  streamsPerConnectionMax: 100,
  resetsPerMinuteMax: 1_000,
  controlFramesPerMinuteMax: 100,
  headerBytesMax: 16 * 1024,
  queryCharactersMax: 8 * 1024,
  goawayMs: 100,
};

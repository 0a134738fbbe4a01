/**
 * One connection per replica over which replicas tell each other what is new: PostgreSQL's LISTEN and NOTIFY.
 *
 * Telling is its own statement on this connection, never part of a journal's flush: a transaction that notifies holds one
 * lock of the whole server until it has committed, so flushes of all replicas would stand in one line.
 *
 * Nothing may depend on a message: it is lost when a connection breaks on either side. Whoever listens also looks at the
 * tables from time to time.
 */
import { Client, type ClientConfig } from "pg";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

/** PostgreSQL takes less than 8,000 bytes. */
export const notifyBytesMax = 7_900;

/** One name for all; databases do not hear each other. */
const channel = "pawf_replicas";
const reconnectPauseMs = 250;
const reconnectPauseMsMax = 5_000;
/** A statement that takes longer means a dead connection: none of ours waits for anything. */
const answerMsMax = 5_000;

export interface NotifyOptions {
  readonly connection: ClientConfig;
  readonly clock: Clock;
  readonly log: Log;
  /** A payload from any replica, this one included. */
  readonly onPayload: (payload: string) => void;
  /** Messages are heard from now on; what was sent before is lost. */
  readonly onUp: () => void;
}

export class NotifyLink {
  readonly #options: NotifyOptions;
  readonly #stopping = new AbortController();
  #client: Client | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: NotifyOptions) {
    this.#options = options;
  }

  /** Connects in the background, again and again. */
  start(): void {
    this.#loop ??= this.#keep();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    await this.#client?.end().catch(() => undefined);
    await this.#loop;
  }

  /** Whether messages are heard at this moment. */
  get up(): boolean {
    return this.#client !== undefined;
  }

  /** Sends payloads of at most `notifyBytesMax` bytes each. False: the connection is down and nothing was sent. */
  async send(payloads: readonly string[]): Promise<boolean> {
    const client = this.#client;
    if (!client) return false;
    try {
      await client.query({ name: "notify", text: "select pg_notify($1, payload) from unnest($2::text[]) payload", values: [channel, payloads] });
      return true;
    } catch {
      void client.end().catch(() => undefined);
      return false;
    }
  }

  async #keep(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await this.#listen(() => (attempt = 0));
      } catch (error) {
        if (!signal.aborted) log.warn({ error: messageOf(error) }, "no news from other replicas for the moment; the tables are asked instead");
      }
      await clock.sleep(Math.min(reconnectPauseMs * 2 ** attempt, reconnectPauseMsMax), signal).catch(() => undefined);
    }
  }

  /** Listens until the connection ends. */
  async #listen(onUp: () => void): Promise<void> {
    const client = new Client({ ...this.#options.connection, application_name: "pawf-notify", keepAlive: true, query_timeout: answerMsMax });
    const ended = new Promise<void>((resolve) => {
      client.on("error", () => resolve());
      client.on("end", () => resolve());
    });
    client.on("notification", ({ payload }) => this.#options.onPayload(payload ?? ""));
    try {
      await client.connect();
      await client.query(`listen ${channel}`);
      if (this.#stopping.signal.aborted) return;
      this.#client = client;
      onUp();
      this.#options.onUp();
      await ended;
    } finally {
      this.#client = undefined;
      await client.end().catch(() => undefined);
    }
  }
}

/**
 * The connection to Redis, which may be away, slow, frozen or wrong at any time: every command is bounded (250 ms), and after
 * a failure nobody waits again until a look in the background has found it answering.
 */
import { Redis } from "ioredis";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

const connectMsMax = 1_000;
const commandMsMaxDefault = 250;
const lookMs = 500;
const lookMsMax = 5_000;

export interface RedisLinkOptions {
  /** `redis://` or `rediss://`; may hold a password, so it is never logged. */
  readonly url: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Gets each message of a channel; needs a connection of its own. */
  readonly subscribe?: { readonly channel: string; readonly onMessage: (payload: string) => void } | undefined;
  readonly onFailure?: (() => void) | undefined;
  /** Longest time for an answer, milliseconds; 250 unless told. */
  readonly commandMsMax?: number;
}

export class RedisLink {
  readonly #options: RedisLinkOptions;
  readonly #commands: Redis;
  readonly #subscriber: Redis | undefined;
  readonly #stopping = new AbortController();
  #up = false;
  #loop: Promise<void> | undefined;
  #lookNow: () => void = () => undefined;

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    this.#commands = new Redis(options.url, {
      connectTimeout: connectMsMax,
      commandTimeout: options.commandMsMax ?? commandMsMaxDefault,
      maxRetriesPerRequest: 1,
      enableOfflineQueue: false,
      lazyConnect: true,
      connectionName: "pawf",
      retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
    });
    this.#commands.on("error", () => undefined);
    const { subscribe } = options;
    if (!subscribe) return;
    // Subscribing again after each reconnect is the library's; its waiting is not bounded, nobody waits for it.
    this.#subscriber = new Redis(options.url, {
      connectTimeout: connectMsMax,
      maxRetriesPerRequest: null,
      lazyConnect: true,
      connectionName: "pawf-news",
      retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
    });
    this.#subscriber.on("error", () => undefined);
    this.#subscriber.on("message", (_channel: string, payload: string) => subscribe.onMessage(payload));
  }

  /** Connects in the background, again and again. */
  start(): void {
    const { subscribe } = this.#options;
    void this.#commands.connect().catch(() => undefined);
    if (this.#subscriber && subscribe) void this.#subscriber.subscribe(subscribe.channel).catch(() => undefined);
    this.#loop ??= this.#keepLooking();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    this.#lookNow();
    await this.#loop;
    this.#commands.disconnect();
    this.#subscriber?.disconnect();
  }

  /** Whether commands are answered, as far as is known. */
  get up(): boolean {
    return this.#up;
  }

  /** Whether messages of the channel are heard. */
  get subscribed(): boolean {
    return this.#up && this.#subscriber?.status === "ready";
  }

  /** Undefined: it is away, or did not answer in time; what was sent may have been done all the same. */
  async run<Answer>(command: (redis: Redis) => Promise<Answer>): Promise<Answer | undefined> {
    if (!this.#up) return undefined;
    try {
      return await command(this.#commands);
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  #failed(error: unknown): void {
    this.#options.onFailure?.();
    if (!this.#up) return;
    this.#up = false;
    if (!this.#stopping.signal.aborted) this.#options.log.warn({ error: messageOf(error) }, "Redis does not answer; everything goes on without it");
    this.#lookNow();
  }

  async #keepLooking(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const answers = await this.#commands.ping().then(
        () => true,
        () => false,
      );
      if (answers && !signal.aborted) {
        attempt = 0;
        this.#up = true;
        log.info({}, "Redis answers");
        await new Promise<void>((resolve) => {
          this.#lookNow = resolve;
          if (!this.#up || signal.aborted) resolve();
        });
      }
      await clock.sleep(Math.min(lookMs * 2 ** Math.min(attempt, 10), lookMsMax), signal).catch(() => undefined);
    }
    this.#up = false;
  }
}

/**
 * News between replicas over Redis where it reaches all of them, else over PostgreSQL. Redis says how many heard a message:
 * when that is fewer than there are replicas, some of them have no Redis, and PostgreSQL tells it (again). Hearing news twice
 * changes nothing. PostgreSQL's link alone decides whether news can be relied on to arrive.
 */
import type { NotifyLink } from "./notify.ts";
import type { RedisLink } from "./redis-link.ts";

/** One name for all that share a Redis and a database. */
export function newsChannel(namespace: string): string {
  return `pawf:news:${namespace}`;
}

export interface NewsLinksOptions {
  readonly notify: Pick<NotifyLink, "up" | "send">;
  readonly redis: Pick<RedisLink, "subscribed" | "run">;
  readonly channel: string;
  /** Other replicas that are alive, as far as is known. */
  readonly peers: () => number;
}

export class NewsLinks {
  readonly #options: NewsLinksOptions;

  constructor(options: NewsLinksOptions) {
    this.#options = options;
  }

  get up(): boolean {
    return this.#options.notify.up;
  }

  async send(payloads: readonly string[]): Promise<boolean> {
    const { notify, redis, channel, peers } = this.#options;
    if (redis.subscribed) {
      const heard = await redis.run((client) => Promise.all(payloads.map((payload) => client.publish(channel, payload))));
      // This replica hears itself.
      if (heard && Math.min(...heard) >= peers() + 1) return true;
    }
    return await notify.send(payloads);
  }
}

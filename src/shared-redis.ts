/** What replicas share when a Redis is configured: their news and what never changes. Without one both go by the database alone. */
import type { Pool } from "pg";
import type { Clock } from "./base/clock.ts";
import type { Log } from "./base/log.ts";
import type { RedisLook } from "./domain/service-status.ts";
import type { NewsLink } from "./engine/replica-news.ts";
import { databaseIdentity } from "./store/database-identity.ts";
import type { NotifyLink } from "./store/notify.ts";
import { VersionCache } from "./store/version-cache.ts";
import type { Instruments } from "./telemetry/instruments.ts";

export interface SharedRedisOptions {
  readonly url: string | undefined;
  readonly pool: Pool;
  /** Seals the shared values. */
  readonly cacheKey: Uint8Array;
  readonly instruments: Instruments;
  readonly clock: Clock;
  readonly log: Log;
  readonly onPayload: (payload: string) => void;
}

export interface SharedRedis {
  readonly versions: VersionCache;
  /** The link that news go by. */
  newsLink(notify: NotifyLink, peers: () => number): NewsLink;
  /** Whether it answers at this moment, and how fast. */
  look(): Promise<RedisLook>;
  stop(): Promise<void>;
}

/** What no step may call, whatever the egress list says. */
export function redisTargets(url: string | undefined): readonly string[] {
  if (url === undefined) return [];
  const { hostname, port } = new URL(url);
  return [`${hostname}:${port === "" ? 6379 : port}`];
}

export async function openSharedRedis({ url, pool, cacheKey, instruments, clock, log, onPayload }: SharedRedisOptions): Promise<SharedRedis> {
  const observe = (cache: string) => ({ read: (result: string) => instruments.cacheReads.of(cache, result).add() });
  const namespace = url === undefined ? undefined : await databaseIdentity(pool);
  if (url !== undefined && namespace === undefined) {
    log.warn(
      {},
      "REDIS_URL is not used: this database does not tell its identity (pg_control_system, pg_walfile_name), without which a restored one could be mistaken",
    );
  }
  if (url === undefined || namespace === undefined) {
    const look = async (): Promise<RedisLook> => ({ state: url === undefined ? "off" : "unused" });
    return { versions: new VersionCache({ observer: observe("versions") }), newsLink: (notify) => notify, look, stop: async () => undefined };
  }
  // Loaded by those who use it: a start without Redis need not read its client library.
  const [{ NewsLinks, newsChannel }, { RedisLink }, { SharedCache }] = await Promise.all([
    import("./store/news-links.ts"),
    import("./store/redis-link.ts"),
    import("./store/shared-cache.ts"),
  ]);
  const channel = newsChannel(namespace);
  const link = new RedisLink({ url, clock, log, subscribe: { channel, onMessage: onPayload }, onFailure: () => instruments.redisFailures.add() });
  link.start();
  const shared = new SharedCache({ link, key: cacheKey, namespace, observer: observe("redis") });
  return {
    versions: new VersionCache({ shared, observer: observe("versions") }),
    newsLink: (notify, peers) => new NewsLinks({ notify, redis: link, channel, peers }),
    async look() {
      const askedAt = clock.monotonic();
      const answer = await link.run((redis) => redis.ping());
      return answer === undefined ? { state: "silent" } : { state: "answers", latencyMs: clock.monotonic() - askedAt };
    },
    stop: () => link.stop(),
  };
}

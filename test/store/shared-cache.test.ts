import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { NewsLinks } from "../../src/store/news-links.ts";
import { RedisLink } from "../../src/store/redis-link.ts";
import { SharedCache, type ValueKey } from "../../src/store/shared-cache.ts";
import { VersionCache } from "../../src/store/version-cache.ts";
import { findRedisServer, startRedis, type TestRedis } from "../support/redis.ts";

const program = await findRedisServer();
const key = randomBytes(32);
const revision: ValueKey = { kind: "revision", tenantId: "acme", id: "w1", version: 1 };
const value = { definition: { steps: [{ name: "a", log: { message: "é" } }] } };

describe.skipIf(program === undefined)("what replicas share in Redis", () => {
  let server: TestRedis;
  let plain: Redis;
  let link: RedisLink;
  let heard: string[] = [];
  let read: string[] = [];
  let cache: SharedCache;
  const observer = { read: (result: string) => void read.push(result) };

  beforeAll(async () => {
    server = await startRedis(program as string);
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    heard = [];
    read = [];
    link = new RedisLink({
      url: server.url,
      clock: systemClock,
      log: silentLog,
      subscribe: { channel: "news", onMessage: (payload) => void heard.push(payload) },
      // A busy machine may look away for a quarter of a second.
      commandMsMax: 1_500,
    });
    link.start();
    await expect.poll(() => link.subscribed).toBe(true);
    plain = new Redis(server.url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
    plain.on("error", () => undefined);
    cache = new SharedCache({ link, key, namespace: "db/1", observer });
    await plain.flushall();
  });
  afterEach(async () => {
    plain.disconnect();
    await link.stop();
  });

  /** The one value that stands there. */
  async function stored(): Promise<{ name: string; bytes: Buffer }> {
    const [name] = await plain.keys("pawf:*");
    return { name: name as string, bytes: (await plain.getBuffer(name as string)) as Buffer };
  }

  it("comes back as it was, for its own key, tenant, database and master key only", async () => {
    await cache.put(revision, value);
    expect(await cache.get(revision)).toEqual(value);
    for (const other of [{ kind: "template" }, { tenantId: "rival" }, { id: "w2" }, { version: 2 }])
      expect(await cache.get({ ...revision, ...other })).toBeUndefined();
    expect(await new SharedCache({ link, key, namespace: "db/2" }).get(revision)).toBeUndefined();
    expect(await new SharedCache({ link, key: randomBytes(32), namespace: "db/1" }).get(revision)).toBeUndefined();
    const { name, bytes } = await stored();
    expect(`${name} ${bytes.toString("latin1")}`).not.toMatch(/acme|w1|steps|message/);
    expect(await plain.ttl(name)).toBeGreaterThan(0);
  });

  it("is not believed when a byte differs, when it is cut, or when it belongs to another name", async () => {
    await cache.put(revision, value);
    const { name, bytes } = await stored();
    for (let at = 0; at < bytes.length; at += 7) {
      const bent = Buffer.from(bytes);
      bent[at] = (bent[at] as number) ^ 1;
      await plain.set(name, bent);
      expect(await cache.get(revision), `byte ${at}`).toBeUndefined();
    }
    for (const wrong of [Buffer.alloc(0), bytes.subarray(0, 20), bytes.subarray(0, -1), Buffer.from('{"definition":{}}'), randomBytes(500)]) {
      await plain.set(name, wrong);
      expect(await cache.get(revision)).toBeUndefined();
    }
    expect(new Set(read)).toEqual(new Set(["invalid"]));
    await plain.set(name, bytes);
    await cache.put({ ...revision, version: 2 }, { definition: { steps: [] } });
    const [other] = (await plain.keys("pawf:*")).filter((one) => one !== name);
    await plain.copy(name, other as string, "REPLACE");
    expect(await cache.get({ ...revision, version: 2 })).toBeUndefined();
  });

  it("a wrong type under its name counts as away, and is asked again after a look", async () => {
    await cache.put(revision, value);
    const { name } = await stored();
    await plain.del(name);
    await plain.lpush(name, "x");
    expect(await cache.get(revision)).toBeUndefined();
    await expect.poll(() => link.up).toBe(true);
  });

  it("a dead server costs nothing but speed, and is used again when it is back", async () => {
    await cache.put(revision, value);
    await server.kill();
    await expect.poll(async () => (await cache.get(revision)) === undefined && !link.up).toBe(true);
    await cache.put(revision, value);
    const versions = new VersionCache({ shared: cache });
    expect(await versions.get(revision, async () => value)).toEqual(value);
    await server.restart();
    await expect.poll(() => link.up).toBe(true);
    expect(await cache.get(revision)).toBeUndefined();
    await cache.put(revision, value);
    expect(await cache.get(revision)).toEqual(value);
  });

  it("a frozen server is waited for once, then left alone until it answers", async () => {
    await cache.put(revision, value);
    server.freeze();
    expect(await cache.get(revision)).toBeUndefined();
    expect(link.up).toBe(false);
    let asked = 0;
    await link.run(async () => void asked++);
    expect(asked).toBe(0);
    server.thaw();
    await expect.poll(() => link.up).toBe(true);
    expect(await cache.get(revision)).toEqual(value);
  });

  it("saves the second replica the read, but a lie is read from the database and put right", async () => {
    let loads = 0;
    const load = async () => {
      loads++;
      return value;
    };
    await new VersionCache({ shared: cache }).get(revision, load);
    await expect.poll(async () => (await plain.keys("pawf:*")).length).toBe(1);
    expect(await new VersionCache({ shared: cache }).get(revision, load)).toEqual(value);
    expect(loads).toBe(1);
    const { name } = await stored();
    await plain.set(name, "a lie");
    expect(await new VersionCache({ shared: cache }).get(revision, load)).toEqual(value);
    expect(loads).toBe(2);
    await expect.poll(async () => await cache.get(revision)).toEqual(value);
  });

  it("news go by Redis when all replicas hear them there, else by PostgreSQL too", async () => {
    const told: string[] = [];
    const notify = { up: true, send: async (payloads: readonly string[]) => told.push(...payloads) > 0 };
    let peers = 0;
    const links = new NewsLinks({ notify, redis: link, channel: "news", peers: () => peers });
    expect(await links.send(["one", "two"])).toBe(true);
    await expect.poll(() => heard).toEqual(["one", "two"]);
    expect(told).toEqual([]);
    peers = 1;
    expect(await links.send(["three"])).toBe(true);
    expect(told).toEqual(["three"]);
    server.freeze();
    expect(await links.send(["four"])).toBe(true);
    expect(told).toEqual(["three", "four"]);
    server.thaw();
    notify.up = false;
    expect(links.up).toBe(false);
  });
});

describe("the cache of this process", () => {
  const cacheOf = (bytesMax: number) => new VersionCache({ bytesMax });
  const keyOf = (version: number): ValueKey => ({ ...revision, version });

  it("reads once for many who ask at once, and not again", async () => {
    const cache = cacheOf(1_000);
    let loads = 0;
    const load = async () => {
      loads++;
      await new Promise((resolve) => setImmediate(resolve));
      return value;
    };
    const found = await Promise.all(Array.from({ length: 10 }, () => cache.get(revision, load)));
    expect([new Set(found).size, loads]).toEqual([1, 1]);
    await cache.get(revision, load);
    expect(loads).toBe(1);
  });

  it("keeps neither what was not found nor what failed", async () => {
    const cache = cacheOf(1_000);
    expect(await cache.get(revision, async () => undefined)).toBeUndefined();
    await expect(cache.get(revision, () => Promise.reject(new Error("away")))).rejects.toThrow("away");
    expect(await cache.get(revision, async () => value)).toBe(value);
  });

  it("stays within its bytes: what is asked for least goes first, and what is too large is not kept", async () => {
    const cache = cacheOf(100);
    const text = { text: "x".repeat(30) };
    for (const version of [1, 2]) await cache.get(keyOf(version), async () => text);
    await cache.get(keyOf(1), async () => text);
    await cache.get(keyOf(3), async () => text);
    expect(cache.bytes).toBeLessThanOrEqual(100);
    const loaded: number[] = [];
    const noted = (version: number, found: object) => async () => {
      loaded.push(version);
      return found;
    };
    for (const version of [1, 3, 2]) await cache.get(keyOf(version), noted(version, text));
    expect(loaded).toEqual([2]);
    await cache.get(keyOf(9), async () => ({ text: "x".repeat(200) }));
    await cache.get(keyOf(9), noted(9, { text: "" }));
    expect(loaded).toEqual([2, 9]);
  });
});

/**
 * Values that never change (revisions, template versions), kept in Redis for all replicas. Redis is trusted with nothing: each
 * value is sealed (AES-256-GCM) under a key derived from the server's root key, together with the name it stands under, so a
 * value that was changed, cut, mixed up with another one or made by somebody else opens as none and is read from the database.
 *
 * The names hold the database's identity and timeline: after a restore to an earlier moment the same revision number may mean
 * another definition, so nothing from before is found any more.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import type { Json } from "../base/json.ts";
import type { RedisLink } from "./redis-link.ts";

export interface ValueKey {
  /** What it is: `revision`, `template`. */
  readonly kind: string;
  readonly tenantId: string;
  readonly id: string;
  readonly version: number;
}

export interface SharedCacheOptions {
  readonly link: Pick<RedisLink, "run">;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** Identity and timeline of the database. */
  readonly namespace: string;
  readonly observer?: SharedCacheObserver | undefined;
}

export interface SharedCacheObserver {
  /** `invalid`: something stood there that this service did not put there, or not under this name. */
  read(result: "hit" | "miss" | "invalid"): void;
}

/** What nobody asks for goes by itself. */
const lifetimeSeconds = 6 * 3_600;
/** Larger values are cheaper to read from the database than to carry twice. */
const valueBytesMax = 1024 * 1024;
const formatVersion = 1;
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = 1 + nonceBytes + tagBytes;

export class SharedCache {
  readonly #options: SharedCacheOptions;

  constructor(options: SharedCacheOptions) {
    this.#options = options;
  }

  /** Undefined: not there, not ours, or Redis is away. Never throws; takes 250 ms at most. */
  async get(key: ValueKey): Promise<Json | undefined> {
    const name = this.#nameOf(key);
    const sealed = await this.#options.link.run((redis) => redis.getBuffer(name));
    if (!sealed) {
      this.#options.observer?.read("miss");
      return undefined;
    }
    const value = this.#open(sealed, name);
    this.#options.observer?.read(value === undefined ? "invalid" : "hit");
    return value;
  }

  /** Never throws. */
  async put(key: ValueKey, value: Json): Promise<void> {
    const text = Buffer.from(JSON.stringify(value));
    if (text.length > valueBytesMax) return;
    const name = this.#nameOf(key);
    await this.#options.link.run((redis) => redis.set(name, this.#seal(text, name), "EX", lifetimeSeconds));
  }

  /** Tells neither tenants nor ids. */
  #nameOf({ kind, tenantId, id, version }: ValueKey): string {
    const { key, namespace } = this.#options;
    const digest = createHmac("sha256", key)
      .update(JSON.stringify([namespace, kind, tenantId, id, version]))
      .digest("base64url");
    return `pawf:${kind}:${digest}`;
  }

  #seal(text: Buffer, name: string): Buffer {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv("aes-256-gcm", this.#options.key, nonce).setAAD(Buffer.from(name));
    const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
    return Buffer.concat([Buffer.of(formatVersion), nonce, cipher.getAuthTag(), sealed]);
  }

  #open(sealed: Buffer, name: string): Json | undefined {
    if (sealed.length < headBytes || sealed.length > headBytes + valueBytesMax || sealed[0] !== formatVersion) return undefined;
    try {
      const decipher = createDecipheriv("aes-256-gcm", this.#options.key, sealed.subarray(1, 1 + nonceBytes), { authTagLength: tagBytes })
        .setAAD(Buffer.from(name))
        .setAuthTag(sealed.subarray(1 + nonceBytes, headBytes));
      return JSON.parse(Buffer.concat([decipher.update(sealed.subarray(headBytes)), decipher.final()]).toString("utf8")) as Json;
    } catch {
      return undefined;
    }
  }
}

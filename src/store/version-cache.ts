/**
 * What never changes once it is written (revisions, template versions), kept in this process up to a number of bytes and, where
 * one is configured, in the cache that replicas share. An entry is never stale, so nothing has to be invalidated; what is
 * asked for least goes first. Many who ask at once for the same value make one read.
 */
import type { Json } from "../base/json.ts";
import type { SharedCache, ValueKey } from "./shared-cache.ts";

export interface VersionCacheOptions {
  readonly shared?: Pick<SharedCache, "get" | "put"> | undefined;
  /** Of JSON text. */
  readonly bytesMax?: number;
  readonly observer?: { read(result: "hit" | "miss"): void } | undefined;
}

/** A revision of the usual size takes a few kilobytes. */
const bytesMaxDefault = 32 * 1024 * 1024;

export class VersionCache {
  readonly #options: VersionCacheOptions;
  readonly #bytesMax: number;
  readonly #entries = new Map<string, { readonly value: unknown; readonly bytes: number }>();
  readonly #reading = new Map<string, Promise<unknown>>();
  #bytes = 0;

  constructor(options: VersionCacheOptions = {}) {
    this.#options = options;
    this.#bytesMax = options.bytesMax ?? bytesMaxDefault;
  }

  /** JSON text kept in this process, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The value, from the nearest place that has it; `load` reads the database and may find nothing, which is not kept. `Value`
   * is plain JSON (absent members may be undefined); nobody changes what this answers with.
   */
  async get<Value extends object>(key: ValueKey, load: () => Promise<Value | undefined>): Promise<Value | undefined> {
    const name = JSON.stringify([key.kind, key.tenantId, key.id, key.version]);
    const known = this.#entries.get(name);
    this.#options.observer?.read(known ? "hit" : "miss");
    if (known) {
      this.#entries.delete(name);
      this.#entries.set(name, known);
      return known.value as Value;
    }
    const reading = this.#reading.get(name) ?? this.#read(name, key, load).finally(() => this.#reading.delete(name));
    this.#reading.set(name, reading);
    return (await reading) as Value | undefined;
  }

  async #read<Value extends object>(name: string, key: ValueKey, load: () => Promise<Value | undefined>): Promise<Value | undefined> {
    const shared = (await this.#options.shared?.get(key)) as Value | undefined;
    const value = shared ?? (await load());
    if (value === undefined) return undefined;
    this.#keep(name, value);
    if (shared === undefined) void this.#options.shared?.put(key, value as unknown as Json);
    return value;
  }

  #keep(name: string, value: object): void {
    const bytes = Buffer.byteLength(JSON.stringify(value));
    if (bytes > this.#bytesMax) return;
    this.#entries.set(name, { value, bytes });
    this.#bytes += bytes;
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#entries.delete(oldest);
      this.#bytes -= entry.bytes;
    }
  }
}

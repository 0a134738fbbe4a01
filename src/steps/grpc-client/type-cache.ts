/**
 * Types of services by tenant and target. An entry serves for ten minutes; when a call does not fit into it and it is older
 * than a moment, it is read anew, because the sibling may have been upgraded. Calls that need the same types wait for one reading.
 */
import type { Clock } from "../../base/clock.ts";
import type { Result } from "../../base/result.ts";
import type { GrpcFailed } from "../grpc-egress.ts";
import type { ServiceTypes } from "./service-types.ts";

const entriesMax = 256;
/** Descriptor bytes of all entries; their types take a multiple of it. */
const bytesMax = 8 * 1024 * 1024;
const ageMsMax = 10 * 60_000;
/** An entry younger than this is believed even when a call does not fit: no answer is asked for more often. */
const freshMs = 5_000;

export interface ReadTypes {
  readonly types: ServiceTypes;
  readonly bytes: number;
}

interface Entry extends ReadTypes {
  readonly readAt: number;
}

export class TypeCache {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #reading = new Map<string, Promise<Result<ReadTypes, GrpcFailed>>>();
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `stale`: the types at hand did not fit; answers undefined when they are too young to have changed. */
  async get(key: string, read: () => Promise<Result<ReadTypes, GrpcFailed>>, stale = false): Promise<Result<ServiceTypes, GrpcFailed> | undefined> {
    const known = this.#entries.get(key);
    const ageMs = known ? this.#clock.monotonic() - known.readAt : Number.POSITIVE_INFINITY;
    if (known && ageMs < ageMsMax && !stale) {
      this.#entries.delete(key);
      this.#entries.set(key, known);
      return { ok: true, value: known.types };
    }
    if (stale && ageMs < freshMs) return undefined;
    const theirs = this.#reading.get(key);
    const found = await (theirs ?? this.#begin(key, read));
    if (found.ok) return { ok: true, value: found.value.types };
    // Another call's reading may have ended with that call's own deadline.
    return theirs ? this.get(key, read, stale) : found;
  }

  #begin(key: string, read: () => Promise<Result<ReadTypes, GrpcFailed>>): Promise<Result<ReadTypes, GrpcFailed>> {
    const reading = read().then((found) => {
      this.#reading.delete(key);
      if (found.ok) this.#keep(key, { ...found.value, readAt: this.#clock.monotonic() });
      return found;
    });
    this.#reading.set(key, reading);
    return reading;
  }

  #keep(key: string, entry: Entry): void {
    this.#forget(key);
    this.#entries.set(key, entry);
    this.#bytes += entry.bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= entriesMax && this.#bytes <= bytesMax) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}

/** How many streams of one kind a tenant, and all together, hold open at this replica. A stream costs memory while it lives, so there is an end. */
import { AppError } from "../base/errors.ts";

export interface StreamBounds {
  readonly perTenantMax: number;
  readonly perReplicaMax: number;
  /** What who is refused can do beside trying another replica. */
  readonly hint: string;
}

/** A client that was refused may find room at another replica. */
const retryAfterMs = 1_000;

export class OpenStreams {
  readonly #bounds: StreamBounds;
  readonly #byTenant = new Map<string, number>();
  #all = 0;

  constructor(bounds: StreamBounds) {
    this.#bounds = bounds;
  }

  /** Counts one more until the returned function is called. @throws AppError STREAM_LIMIT */
  enter(tenantId: string): () => void {
    const { perTenantMax, perReplicaMax, hint } = this.#bounds;
    const ofTenant = this.#byTenant.get(tenantId) ?? 0;
    if (ofTenant >= perTenantMax)
      throw limited(`this tenant has ${ofTenant} streams open at this replica, and ${perTenantMax} is the limit`, perTenantMax, hint);
    if (this.#all >= perReplicaMax) throw limited("this replica has as many streams open as it takes", perReplicaMax, hint);
    this.#byTenant.set(tenantId, ofTenant + 1);
    this.#all += 1;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#all -= 1;
      const left = (this.#byTenant.get(tenantId) ?? 1) - 1;
      if (left === 0) this.#byTenant.delete(tenantId);
      else this.#byTenant.set(tenantId, left);
    };
  }
}

function limited(why: string, limit: number, hint: string): AppError {
  const message = `${why}; ${hint}, or try another replica`;
  return new AppError("STREAM_LIMIT", message, { retryAfterMs, metadata: { limit: String(limit) } });
}

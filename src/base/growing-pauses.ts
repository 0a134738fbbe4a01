/** Pauses between tries of things that fail: each doubles the thing's last one. In memory, so a restart begins anew. */
export interface GrowingPausesOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Milliseconds of a clock that never jumps. */
  readonly now: () => number;
}

interface Failing {
  failures: number;
  pauseMs: number;
  until: number;
}

/** Things that are remembered; of more the oldest begin anew. */
const rememberedMax = 10_000;

export class GrowingPauses {
  readonly #options: GrowingPausesOptions;
  readonly #failing = new Map<string, Failing>();

  constructor(options: GrowingPausesOptions) {
    this.#options = options;
  }

  /** It failed once more. What did not fail for a while beyond its last pause begins anew. */
  failed(key: string): { readonly failures: number; readonly pauseMs: number } {
    const { firstMs, maxMs, now } = this.#options;
    const last = this.#failing.get(key);
    const goesOn = last !== undefined && now() < last.until + 2 * Math.max(last.pauseMs, forgottenAfterMs);
    const pauseMs = goesOn ? Math.min(maxMs, last.pauseMs * 2) : firstMs;
    const failures = goesOn ? last.failures + 1 : 1;
    const oldest = this.#failing.keys().next();
    if (this.#failing.size >= rememberedMax && !last && !oldest.done) this.#failing.delete(oldest.value);
    this.#failing.delete(key);
    this.#failing.set(key, { failures, pauseMs, until: now() + pauseMs });
    return { failures, pauseMs };
  }

  /** Those that are left alone at this moment. */
  paused(): string[] {
    const now = this.#options.now();
    return [...this.#failing].filter(([, { until }]) => until > now).map(([key]) => key);
  }

  /** It went well. */
  forget(key: string): void {
    this.#failing.delete(key);
  }
}

const forgottenAfterMs = 60_000;

/**
 * What a run reads from outside for its open waits: stored events that came before they were registered, or while nobody drove
 * the execution. The run looks when a wait was registered (that is, committed), when it took the execution over, and when
 * somebody says that there is something new; before that it does not leave memory. So whoever drives the execution looks, or
 * dies, and then its successor does.
 */
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { openWaits, type Signal } from "../domain/waits.ts";
import { type SignalWish, signalPageRows } from "../store/signal-repository.ts";

/** Where stored events are read. */
export interface SignalSource {
  find(wish: SignalWish): Promise<readonly Signal[]>;
}

export interface OutsideLookOptions {
  readonly state: ExecutionState;
  readonly source: SignalSource;
  readonly log: Log;
  /** Hands events to the run; resolves when they are folded, with false when the run is over. */
  readonly receive: (signals: readonly Signal[]) => Promise<boolean>;
  /** A look is over: the run may leave memory now. */
  readonly onDone: () => void;
  readonly sleep: (durationMs: number, signal: AbortSignal) => Promise<void>;
}

const againMs = 500;

export class OutsideLook {
  readonly #options: OutsideLookOptions;
  readonly #stopping = new AbortController();
  /** Waits, by path and attempt, that were looked for. */
  #looked = new Set<string>();
  #asked = false;
  #isLooking = false;

  constructor(options: OutsideLookOptions) {
    this.#options = options;
  }

  /** There may be something new for waits that were looked for already. */
  ask(): void {
    this.#asked = true;
  }

  /** A look is under way or has to be made before the run may leave memory. */
  get isDue(): boolean {
    if (this.#isLooking) return true;
    if (this.#options.state.waits.size === 0) return false;
    return this.#asked || this.#keys().some((key) => !this.#looked.has(key));
  }

  /** Begins a look that is due. All of the run's events are committed at this moment. */
  begin(): void {
    if (this.#isLooking || !this.isDue) return;
    this.#isLooking = true;
    this.#asked = false;
    this.#looked = new Set(this.#keys());
    void this.#look();
  }

  stop(): void {
    this.#stopping.abort(new Error("the run is over"));
  }

  #keys(): string[] {
    return openWaits(this.#options.state).map(({ path, attempt }) => `${path}#${attempt}`);
  }

  async #look(): Promise<void> {
    const { state, log, sleep, onDone } = this.#options;
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#readAll();
        break;
      } catch (error) {
        log.warn({ executionId: state.executionId, error: messageOf(error) }, "stored events could not be read; they are read again shortly");
        await sleep(againMs, this.#stopping.signal);
      }
    }
    this.#isLooking = false;
    onDone();
  }

  async #readAll(): Promise<void> {
    const { state, source, receive } = this.#options;
    const { tenantId, executionId, received } = state;
    for (let after: Signal | undefined; ; ) {
      const waits = openWaits(state);
      if (waits.length === 0) return;
      const events = waits.flatMap(({ awaits = [] }) => awaits);
      const since = Math.min(...waits.map(({ startedAt = 0 }) => startedAt));
      const page = await source.find({ tenantId, executionId, events, received, since, after });
      if (page.length === 0 || !(await receive(page)) || page.length < signalPageRows) return;
      after = page.at(-1);
    }
  }
}

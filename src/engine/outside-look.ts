/**
 * What a run looks for outside: stored events for its open waits, and how its children stand. The run looks when such a wait
 * is durable, when it took the execution over, and when somebody says that there is something new; before that it does not
 * leave memory. So whoever drives the execution looks, or dies, and then its successor does.
 */
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { openChildren } from "../domain/children.ts";
import type { Definition } from "../domain/definition.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { openWaits, type Signal } from "../domain/waits.ts";
import { type SignalWish, signalPageRows } from "../store/signal-repository.ts";
import type { ChildLink, ChildReport } from "./child-link.ts";

/** Where stored events are read. */
export interface SignalSource {
  find(wish: SignalWish): Promise<readonly Signal[]>;
}

export interface OutsideLookOptions {
  readonly state: ExecutionState;
  readonly definition: () => Definition;
  /** Absent: not known here. */
  readonly signals: SignalSource | undefined;
  readonly children: ChildLink | undefined;
  readonly log: Log;
  /** Hand what was found to the run; resolve when it is folded, with false when the run is over. */
  readonly receive: (signals: readonly Signal[]) => Promise<boolean>;
  readonly report: (reports: readonly ChildReport[]) => Promise<boolean>;
  /** A look is over: the run may leave memory now. */
  readonly onDone: () => void;
  readonly sleep: (durationMs: number, signal: AbortSignal) => Promise<void>;
}

const againMs = 500;

export class OutsideLook {
  readonly #options: OutsideLookOptions;
  /** Of the look that is under way; most runs end without one. */
  #looking: AbortController | undefined;
  #isOver = false;
  /** Waits, by path, operation and attempt, that were looked for. */
  #looked = new Set<string>();
  /** Paths of steps whose child is not wanted any more. */
  readonly #calledOff = new Set<string>();
  #asked = false;
  #isLooking = false;

  constructor(options: OutsideLookOptions) {
    this.#options = options;
  }

  /** There may be something new for waits that were looked for already. */
  ask(): void {
    this.#asked = true;
  }

  /** The child that carries out this step is not wanted any more. */
  callOff(path: string): void {
    if (this.#calledOff.has(path)) return;
    this.#calledOff.add(path);
    this.#asked = true;
  }

  /** A look is under way or has to be made before the run may leave memory. */
  get isDue(): boolean {
    if (this.#isLooking) return true;
    const { waits, children } = this.#options.state;
    if (waits.size === 0 && children.size === 0) return false;
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
    this.#isOver = true;
    this.#looking?.abort(new Error("the run is over"));
  }

  #keys(): string[] {
    const { state, signals, children } = this.#options;
    return [
      ...(signals ? openWaits(state).map(({ path, attempt }) => `${path}#${attempt}`) : []),
      ...(children ? openChildren(state).map(({ path, operation, attempt }) => `${path}#${operation}#${attempt}`) : []),
    ];
  }

  async #look(): Promise<void> {
    const { state, log, sleep, onDone } = this.#options;
    this.#looking = new AbortController();
    while (!this.#isOver) {
      try {
        await this.#readSignals();
        await this.#seeToChildren();
        break;
      } catch (error) {
        if (this.#isOver) break;
        log.warn({ executionId: state.executionId, error: messageOf(error) }, "what an execution waits for could not be looked at; it is tried again");
        await sleep(againMs, this.#looking.signal);
      }
    }
    this.#isLooking = false;
    onDone();
  }

  async #readSignals(): Promise<void> {
    const { state, signals, receive } = this.#options;
    const { tenantId, executionId, received } = state;
    for (let after: Signal | undefined; signals; ) {
      const waits = openWaits(state);
      if (waits.length === 0) return;
      const events = waits.flatMap(({ awaits = [] }) => awaits);
      const since = Math.min(...waits.map(({ startedAt = 0 }) => startedAt));
      const page = await signals.find({ tenantId, executionId, events, received, since, after });
      if (page.length === 0 || !(await receive(page)) || page.length < signalPageRows) return;
      after = page.at(-1);
    }
  }

  async #seeToChildren(): Promise<void> {
    const { state, definition, children, report } = this.#options;
    const open = openChildren(state);
    if (!children || open.length === 0) return;
    const reports = await children.look(state, definition(), open, this.#calledOff);
    if (reports.length > 0) await report(reports);
  }
}

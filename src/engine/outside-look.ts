/**
 * What a run looks for outside: stored events for its open waits, and how its children stand. The run looks when such a wait
 * is durable, when it took the execution over, and when somebody says that there is something new; before that it does not
 * leave memory. So whoever drives the execution looks, or dies, and then its successor does.
 *
 * When the time of a wait is over it looks once more: whoever stored an event in time may have frozen or died before it told
 * anybody. The wait ends without one only after a look that began, by the database's clock, at its end or later.
 */
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { openChildren } from "../domain/children.ts";
import type { Definition } from "../domain/definition.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { isReceiving, openWaits, type Signal } from "../domain/waits.ts";
import { type SignalPage, type SignalWish, signalPageRows } from "../store/signal-repository.ts";
import type { ChildLink, ChildReport } from "./child-link.ts";

/** Where stored events are read. */
export interface SignalSource {
  find(wish: SignalWish): Promise<SignalPage>;
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
/** Longest pause of a look that waits for the database's clock to come to the end of a wait: ours may be ahead of it. */
const behindMs = 100;

export class OutsideLook {
  readonly #options: OutsideLookOptions;
  /** Of the look that is under way; most runs end without one. */
  #looking: AbortController | undefined;
  #isOver = false;
  /** Waits, by path, operation and attempt, that were looked for. */
  #looked = new Set<string>();
  /** The last look that was carried through: which waits it was for, and when it read, by the database's clock. */
  #read: { readonly keys: ReadonlySet<string>; readonly at: number } = { keys: new Set(), at: 0 };
  /** The look has to be at least that late. */
  #until = 0;
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

  /** Whether all was read that can end this wait in time; else a look is due. True of everything that no event ends. */
  isReadToEndOf(path: string): boolean {
    const { state, signals } = this.#options;
    const run = state.waits.has(path) ? state.steps.get(path) : undefined;
    if (!signals || run?.wakeAt === undefined || !isReceiving(state)) return true;
    if (this.#read.at >= run.wakeAt && this.#read.keys.has(waitKey(run))) return true;
    this.#until = Math.max(this.#until, run.wakeAt);
    this.#asked = true;
    return false;
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
      ...(signals ? openWaits(state).map(waitKey) : []),
      ...(children ? openChildren(state).map(({ path, operation, attempt }) => `${path}#${operation}#${attempt}`) : []),
    ];
  }

  async #look(): Promise<void> {
    const { state, log, sleep, onDone } = this.#options;
    this.#looking = new AbortController();
    while (!this.#isOver) {
      try {
        const at = await this.#readSignals();
        await this.#seeToChildren();
        this.#read = { keys: this.#looked, at };
        if (at >= this.#until) break;
        await sleep(Math.min(this.#until - at, behindMs), this.#looking.signal);
      } catch (error) {
        if (this.#isOver) break;
        log.warn({ executionId: state.executionId, error: messageOf(error) }, "what an execution waits for could not be looked at; it is tried again");
        await sleep(againMs, this.#looking.signal);
      }
    }
    this.#isLooking = false;
    onDone();
  }

  /** When it began to read, by the database's clock, milliseconds since the epoch. */
  async #readSignals(): Promise<number> {
    const { state, signals, receive } = this.#options;
    const { tenantId, executionId, received } = state;
    let readAt = Number.POSITIVE_INFINITY;
    for (let after: Signal | undefined; signals; ) {
      const waits = openWaits(state);
      if (waits.length === 0) break;
      const events = waits.flatMap(({ awaits = [] }) => awaits);
      const since = Math.min(...waits.map(({ startedAt = 0 }) => startedAt));
      const page = await signals.find({ tenantId, executionId, events, received, since, after });
      readAt = Math.min(readAt, page.readAt);
      if (page.signals.length === 0 || !(await receive(page.signals)) || page.signals.length < signalPageRows) break;
      after = page.signals.at(-1);
    }
    return readAt;
  }

  async #seeToChildren(): Promise<void> {
    const { state, definition, children, report } = this.#options;
    const open = openChildren(state);
    if (!children || open.length === 0) return;
    const reports = await children.look(state, definition(), open, this.#calledOff);
    if (reports.length > 0) await report(reports);
  }
}

function waitKey({ path, attempt }: { readonly path: string; readonly attempt: number }): string {
  return `${path}#${attempt}`;
}

/**
 * Carries a command to all open executions of a workflow: pause, resume, release of queued starts, cancel. The sweep is stored
 * with the change that asks for it; whichever replica takes it goes on batch by batch until the end, and after a crash the
 * next one goes on where the last batch was written down. Each sweep is made twice, the second time a little later: a start
 * that read the workflow just before it changed may have been written just after the first pass.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import { AppError, messageOf } from "../base/errors.ts";
import { LeftOut } from "../base/left-out.ts";
import type { Log } from "../base/log.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { Sweep, SweepStore } from "../store/workflow-sweeps.ts";

export interface WorkflowSweepsOptions {
  readonly store: SweepStore;
  readonly control: (caller: Caller, executionId: string, command: ControlCommand) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
  readonly leftOut?: LeftOut;
  readonly bounds?: Partial<SweepBounds>;
}

export interface SweepBounds {
  /** Executions of one batch, and how many of them get the command at a time: leaves room for everything else. */
  readonly batchRows: number;
  readonly parallel: number;
  /** A batch that takes longer belongs to whoever takes the sweep next. */
  readonly claimMs: number;
  readonly lookMs: number;
  /** Longer than a start may take from reading its workflow to its commit. */
  readonly secondPassMs: number;
}

const boundsDefault: SweepBounds = { batchRows: 50, parallel: 10, claimMs: 60_000, lookMs: 2_000, secondPassMs: 10_000 };

export class WorkflowSweeps {
  readonly #options: WorkflowSweepsOptions;
  readonly #bounds: SweepBounds;
  readonly #leftOut: LeftOut;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: WorkflowSweepsOptions) {
    this.#options = options;
    this.#bounds = { ...boundsDefault, ...options.bounds };
    this.#leftOut = options.leftOut ?? new LeftOut({ work: "workflow_sweep", log: options.log });
  }

  start(): void {
    this.#loop ??= this.#lookForever();
  }

  /** Ends after the batch under way. May be called twice. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    await this.#loop;
  }

  /** Carries out what waits for this workflow, for at most `budgetMs`; the rest goes on without the caller. Answers how many got the command. */
  async run(tenantId: string, workflowId: string, budgetMs: number): Promise<number> {
    const { store, clock } = this.#options;
    const until = clock.monotonic() + budgetMs;
    let count = 0;
    while (clock.monotonic() < until) {
      const sweep = await store.take(this.#bounds.claimMs, { tenantId, workflowId });
      if (!sweep) break;
      const done = await this.#carryOut(sweep, until);
      if (sweep.passes === 0) count += done - sweep.doneCount;
    }
    return count;
  }

  async #lookForever(): Promise<void> {
    const { clock, log, store } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const sweep = await store.take(this.#bounds.claimMs);
        if (sweep) await this.#carryOut(sweep, Number.POSITIVE_INFINITY);
        if (sweep) continue;
      } catch (error) {
        log.warn({ error: messageOf(error) }, "a sweep over a workflow's executions stopped; it goes on later");
      }
      await clock.sleep(this.#bounds.lookMs, signal).catch(() => undefined);
    }
  }

  /** Answers how many executions have got the command in all. */
  async #carryOut(taken: Sweep, until: number): Promise<number> {
    const { store, clock } = this.#options;
    const { batchRows, claimMs, secondPassMs } = this.#bounds;
    let sweep = taken;
    for (;;) {
      const endsAt = clock.monotonic() + claimMs;
      const ids = await store.next(sweep, batchRows);
      const last = ids.at(-1);
      if (last === undefined) break;
      const done = await this.#batch(sweep, ids, endsAt);
      const over = this.#stopping.signal.aborted || clock.monotonic() >= until;
      sweep = await store.advance(sweep, last, sweep.doneCount + done, over ? 0 : claimMs);
      if (over) return sweep.doneCount;
    }
    if (sweep.passes === 0) await store.again(sweep, secondPassMs);
    else await store.finish(sweep);
    return sweep.doneCount;
  }

  async #batch(sweep: Sweep, ids: readonly string[], endsAt: number): Promise<number> {
    const rest = [...ids];
    let done = 0;
    const worker = async (): Promise<void> => {
      for (let id = rest.shift(); id !== undefined; id = rest.shift()) {
        // Frozen for longer than the claim: the sweep may be in other hands, or over.
        if (this.#options.clock.monotonic() >= endsAt) throw new AppError("STORAGE_UNAVAILABLE", "the batch took longer than its claim");
        if (await this.#command(sweep, id)) done++;
      }
    };
    await Promise.all(Array.from({ length: this.#bounds.parallel }, worker));
    return done;
  }

  /**
   * False: the execution had ended, or cannot be told that any more, or fails each time, which is the second pass's to try once more.
   * What may pass is thrown, and the batch is repeated.
   */
  async #command(sweep: Sweep, executionId: string): Promise<boolean> {
    const { tenantId, actor, reason } = sweep;
    const caller: Caller = { tenantId, actor, scopes: new Set(), correlationId: "", requestId: "" };
    const asked = { actor, reason };
    const commands: Record<Sweep["command"], ControlCommand[]> = {
      pause: [{ kind: "pause", ...asked }],
      resume: [
        { kind: "release", of: "workflow_paused", ...asked },
        { kind: "resume", ...asked },
      ],
      release: [{ kind: "release", of: "workflow_paused", ...asked }],
      cancel: [{ kind: "cancel", ...asked, graceMs: cancelGraceMs }],
    };
    try {
      for (const command of commands[sweep.command]) await this.#options.control(caller, executionId, command);
      return true;
    } catch (error) {
      if (error instanceof AppError && (error.code === "FAILED_PRECONDITION" || error.code === "NOT_FOUND")) return false;
      this.#leftOut.goOn({ tenantId, executionId, sweepId: sweep.id }, error);
      return false;
    }
  }
}

/** As CancelExecution's own default. */
const cancelGraceMs = 10_000;

/**
 * The engine of one replica: takes executions (started here, claimed when due, or freed by a dead replica), drives each in
 * an `ExecutionRun` and lets go of it when it ends, parks or is lost.
 *
 * Nothing here decides what a workflow does (that is `domain/`) or makes anything durable (that is the journal). What this
 * replica drives is only what stands in `#runs`; losing the lease empties it.
 */

import type { Caller } from "../base/caller.ts";
import { AppError, messageOf } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { applyCommand, type ControlCommand } from "../domain/control-command.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import { foldExecution } from "../domain/execution.ts";
import { type ExecutionState, emptyExecution } from "../domain/execution-state.ts";
import type { EngineStore } from "../store/engine-store.ts";
import type { AppendOutcome } from "../store/journal.ts";
import type { ClaimedExecution } from "../store/sql/claim-executions.ts";
import { askEnded } from "./ask-ended.ts";
import { claimShares } from "./claim-shares.ts";
import type { Claiming, Given } from "./claiming.ts";
import { type CommandDesk, inboxLookMs } from "./command-desk.ts";
import type { Definitions } from "./definitions.ts";
import type { Leases } from "./leases.ts";
import { LettingGo } from "./letting-go.ts";
import type { NewExecution } from "./new-execution.ts";
import { readLedgers, Unreadable } from "./read-ledgers.ts";
import type { RunEnvironment } from "./run-environment.ts";
import { ExecutionRun } from "./run-execution.ts";

export interface EngineOptions extends Omit<RunEnvironment, "sleep" | "joined"> {
  readonly store: EngineStore;
  readonly definitions: Definitions;
  readonly leases: Leases;
  /** Absent: an execution that another replica drives cannot be asked. */
  readonly desk?: CommandDesk;
  /** It left memory; what of it waits for a participant to answer again. */
  readonly onParked?: (state: ExecutionState, awaited: ReadonlyMap<string, number>) => void;
}

export class Engine {
  readonly #options: EngineOptions;
  readonly #environment: RunEnvironment;
  readonly #runs = new Map<string, ExecutionRun>();
  readonly #drives = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #lettingGo: LettingGo;
  #wakeUp: () => void = () => undefined;
  #loop: Promise<void> | undefined;
  #lookedAt = 0;
  /** Executions that a claim under way may have made this replica's, before they are driven; by tenant and id, as `#runs`. */
  readonly #claiming = new Map<string, Claiming>();
  /** An answer was lost: this replica may own executions that it does not drive. */
  #mayHaveOrphans = false;
  #lookedForOrphansAt = 0;
  /** The tenant that was claimed for last. */
  #lastServed = "";

  constructor(options: EngineOptions) {
    this.#options = options;
    const { clock } = options.services;
    this.#environment = {
      ...options,
      joined: options.definitions.joined,
      holdsLease: () => options.leases.held,
      sleep: (durationMs, signal) => clock.sleep(durationMs, signal).catch(() => undefined),
    };
    this.#lettingGo = new LettingGo({
      ...{ store: options.store, holdsLease: () => options.leases.held, clock, log: options.services.log },
      onUnreleased: () => void (this.#mayHaveOrphans = true),
    });
  }

  start(): void {
    this.#loop ??= this.#claimForever();
  }

  /**
   * Takes nothing new, lets attempts in flight end for up to `graceMs` and leaves every execution due for the next replica.
   * What does not end in time is forgotten: whoever claims it sends it again with the same key. May be called twice.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort(new Error("the engine stops"));
    await this.#loop;
    for (const run of this.#runs.values()) run.park();
    const grace = new AbortController();
    const { clock } = this.#options.services;
    await Promise.race([Promise.allSettled([...this.#drives]), clock.sleep(graceMs, grace.signal).catch(() => undefined)]);
    grace.abort(new Error("everything was parked"));
    this.forgetAll();
    await Promise.allSettled([...this.#drives]);
  }

  /** Executions driven here at this moment. */
  get driven(): number {
    return this.#runs.size;
  }

  /** The lease is gone: nothing here may write any more. */
  forgetAll(): void {
    for (const run of this.#runs.values()) run.forget();
  }

  /** Look for due work now instead of at the next poll. */
  wake(): void {
    this.#wakeUp();
  }

  /** Makes a new execution durable and drives it. Resolves after the commit; `exists` means that nothing was written. */
  async begin(
    tenantId: string,
    revision: CompiledRevision,
    execution: NewExecution,
  ): Promise<{ readonly outcome: AppendOutcome; readonly state: ExecutionState }> {
    const { leases, journal } = this.#options;
    if (this.#stopping.signal.aborted) throw new AppError("SERVER_DRAINING", "this replica is stopping; try again", { retryAfterMs: 500 });
    if (!leases.held) throw new AppError("STORAGE_UNAVAILABLE", "this replica has no lease at the moment; try again", { retryAfterMs: 1_000 });
    if (journal.backlogRows > limits.backlogStartsMax) {
      throw new AppError("OVERLOADED", "this replica has more work than it can write; try again later", { retryAfterMs: 1_000 });
    }
    // A child's id is chosen by its parent, who may ask again while the first start is being written, or fails.
    if (this.#runs.has(keyOf(tenantId, execution.executionId))) {
      throw new AppError("STORAGE_UNAVAILABLE", "this execution is being started; look whether it was", { retryAfterMs: 500 });
    }
    const run = new ExecutionRun(this.#environment, revision, emptyExecution({ executionId: execution.executionId, tenantId }));
    const begun = run.begin(execution.start, [execution.created, ...(execution.enlisted ?? [])], execution.copied);
    // More than this replica drives at once is stored and left due: it is claimed when there is room, here or elsewhere.
    if (this.#runs.size >= limits.drivenExecutionsMax) run.park();
    this.#drive(tenantId, run);
    const { outcome, events } = await begun;
    return { outcome, state: foldExecution({ executionId: execution.executionId, tenantId }, events) };
  }

  /**
   * Hands a command to an execution, wherever it stands: driven here, parked, or driven by another replica, which is asked
   * through its inbox. Executions change hands meanwhile, so that is tried again for a short while. Resolves with the
   * command's answer, where its rule gives one.
   */
  async control(caller: Caller, executionId: string, command: ControlCommand): Promise<JsonObject | undefined> {
    const { actor, change } = caller;
    const mark = change && { ...(change.key === undefined ? {} : { key: change.key }), actor, method: change.method };
    const answer = await this.#ask(caller.tenantId, executionId, mark ? { ...command, change: mark } : command);
    if (answer?.["replayed"] === true) change?.noteReplay();
    return answer;
  }

  async #ask(tenantId: string, executionId: string, command: ControlCommand): Promise<JsonObject | undefined> {
    const { clock } = this.#options.services;
    const give = (run: ExecutionRun): Given["promise"] => giveTo(run, command);
    for (let attempt = 1; ; attempt++) {
      const run = this.#runs.get(keyOf(tenantId, executionId));
      let isHere = run !== undefined;
      try {
        const answer = run
          ? { promise: give(run) }
          : await this.#take(tenantId, executionId, attempt > 1 || command.kind === "retry" || command.kind === "compensate", give);
        isHere ||= answer !== undefined;
        if (answer) return await answer.promise;
        const ended = await askEnded(this.#options, tenantId, executionId, command);
        if (ended) return ended;
      } catch (error) {
        if (!(error instanceof AppError) || error.reason !== "STORAGE_UNAVAILABLE" || attempt >= controlAttemptsMax) throw error;
      }
      const elsewhere = isHere ? undefined : await this.#options.desk?.ask(tenantId, executionId, command);
      if (elsewhere?.kind === "done") return elsewhere.answer;
      if (elsewhere?.kind === "refused") throw elsewhere.error;
      if (attempt >= controlAttemptsMax) {
        throw new AppError("STORAGE_UNAVAILABLE", "another replica drives this execution; try again", { retryAfterMs: 500 });
      }
      // What was let go of here a moment ago can be claimed again at once.
      await clock.sleep(isHere ? 1 : controlPauseMs);
    }
  }

  /** Hands a command to an execution that is driven here; undefined when it is not. */
  deliver(tenantId: string, executionId: string, command: ControlCommand): Given["promise"] | undefined {
    const run = this.#runs.get(keyOf(tenantId, executionId));
    return run && giveTo(run, command);
  }

  /** A participant answers again: executions that are driven here and wait for it are told. */
  recovered(tenantId: string, destination: string): void {
    for (const run of this.#runs.values()) {
      if (run.state.tenantId !== tenantId || !run.awaited(this.#options.now()).has(destination)) continue;
      giveTo(run, { kind: "recovered", destination }).catch(() => undefined);
    }
  }

  /**
   * Claims a parked (with `ended` also an ended) execution and gives it the command before it is driven, since it would
   * be let go of again at once. Answers undefined when it is driven elsewhere. That an execution ended meanwhile is for
   * the command's rule to say, hence `ended` from the second attempt on.
   */
  async #take(tenantId: string, executionId: string, ended: boolean, give: (run: ExecutionRun) => Given["promise"]): Promise<Given | undefined> {
    if (!this.#options.leases.held) return undefined;
    const key = keyOf(tenantId, executionId);
    const underWay = this.#claiming.get(key);
    if (underWay) return await this.#join(underWay, give);
    const over = Promise.withResolvers<void>();
    const claiming: Claiming = { executionId, joined: [], over: over.promise };
    this.#claiming.set(key, claiming);
    const { epoch } = this.#options.leases.fence;
    try {
      const claimed = await this.#options.store.claimOne(tenantId, executionId, ended).catch((error: unknown) => {
        this.#mayHaveOrphans = true;
        throw error;
      });
      if (!claimed) return undefined;
      let given: Given | undefined;
      await this.#resume(tenantId, epoch, [claimed], (run) => {
        given = { promise: give(run) };
        given.promise.catch(() => undefined);
        for (const join of claiming.joined) join(run);
      });
      return given;
    } finally {
      this.#claiming.delete(key);
      over.resolve();
    }
  }

  async #claimForever(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let pauseMs: number = limits.claimPollMs;
      try {
        if (this.#options.leases.held) {
          await this.#releaseOrphans();
          pauseMs = await this.#claimDue();
        }
        this.#lookIntoInbox();
      } catch (error) {
        this.#mayHaveOrphans = true;
        this.#options.services.log.warn({ error: messageOf(error) }, "due executions could not be claimed");
      }
      if (pauseMs > 0) await this.#pause(pauseMs);
    }
  }

  /**
   * A command that comes while its execution is being claimed here is given to the run that follows, before that is driven:
   * else each of many would lose against the claim of the one before it. Undefined when that claim was in vain.
   */
  async #join(claiming: Claiming, give: (run: ExecutionRun) => Given["promise"]): Promise<Given | undefined> {
    let given: Given | undefined;
    claiming.joined.push((run) => {
      given = { promise: give(run) };
      given.promise.catch(() => undefined);
    });
    await claiming.over;
    return given;
  }

  /**
   * A claim whose answer was lost made this replica the owner of what it does not know of, and while it lives nobody else
   * would ever take that over. Looked for after every failure, and rarely besides. What begins meanwhile is none: a run is known
   * here before its first commit, so it is asked twice who is driven.
   */
  async #releaseOrphans(): Promise<void> {
    const now = this.#options.services.clock.monotonic();
    if (!this.#mayHaveOrphans && now - this.#lookedForOrphansAt < orphansLookMs) return;
    this.#lookedForOrphansAt = now;
    const { store } = this.#options;
    const driven = (): string[] => [...this.#claiming.values(), ...this.#runs.values()].map(({ executionId }) => executionId);
    const owned = await store.findOwned(driven());
    const known = new Set(driven());
    const orphans = owned.filter(({ executionId }) => !known.has(executionId));
    const released = orphans.length > 0 ? await store.releaseOrphans(orphans) : 0;
    this.#mayHaveOrphans = false;
    if (released > 0) this.#options.services.log.warn({ released }, "executions that were owned here and not driven are due again");
  }

  /** Messages call for it at once; this is for those that were lost. */
  #lookIntoInbox(): void {
    const now = this.#options.services.clock.monotonic();
    if (this.#options.leases.peers === 0 || now - this.#lookedAt < inboxLookMs) return;
    this.#lookedAt = now;
    void this.#options.desk?.look();
  }

  /** Claims in turns by tenant; answers how long nothing is due. */
  async #claimDue(): Promise<number> {
    const { clock } = this.#options.services;
    const askedAt = clock.monotonic();
    const parked = await this.#options.store.nextDue();
    // Thousands of tenants make the look itself long: it takes a fifth of the time at most.
    const pauseMsMin = Math.max(1, (clock.monotonic() - askedAt) * 4);
    const pauseMs = Math.max(limits.claimPollMs, pauseMsMin);
    const untilNextMs = parked.reduce((next, { dueInMs }) => (dueInMs > 0 ? Math.min(next, dueInMs) : next), pauseMs);
    const room = limits.drivenExecutionsMax - this.#runs.size;
    const due = parked.filter(({ dueInMs }) => dueInMs <= 0);
    if (due.length > 0 && room <= 0) return Math.min(untilNextMs, noRoomPauseMs);
    let claimedAny = false;
    for (const { tenantId, rows } of claimShares(due, this.#lastServed, { room, ...roundLimits })) {
      const { epoch } = this.#options.leases.fence;
      // Before and not after: when this one fails, the next round begins behind it.
      this.#lastServed = tenantId;
      const claimed = await this.#options.store.claim(tenantId, rows);
      await this.#resume(tenantId, epoch, claimed);
      if (claimed.length > 0) claimedAny = true;
    }
    return claimedAny ? 0 : Math.max(untilNextMs, pauseMsMin);
  }

  /**
   * Loads, folds and drives executions that were claimed under the lease of that epoch. One that cannot be folded is reported and left alone,
   * never looped on. When that lease was lost meanwhile (the process was frozen), they are another replica's by now, and nothing that
   * they are told here may count as heard.
   */
  async #resume(tenantId: string, epoch: number, claimed: readonly ClaimedExecution[], onRun?: (run: ExecutionRun) => void): Promise<void> {
    if (claimed.length === 0) return;
    const ids = claimed.map((execution) => execution.executionId);
    const ledgers = await readLedgers(this.#options.store, tenantId, ids).catch(async (error: unknown) => {
      for (const executionId of ids) await this.#lettingGo.lost(tenantId, executionId);
      throw error;
    });
    for (const executionId of ids) {
      const ledger = ledgers.get(executionId) ?? [];
      try {
        if (ledger instanceof Unreadable) throw ledger.cause;
        const state = foldExecution({ tenantId, executionId }, ledger);
        const compiled = await this.#options.definitions.baseOf(state);
        if (this.#options.leases.fence.epoch !== epoch) {
          this.#mayHaveOrphans = true;
          continue;
        }
        const run = new ExecutionRun(this.#environment, compiled, state, this.#lettingGo.refusalOf(tenantId, executionId));
        onRun?.(run);
        this.#drive(tenantId, run);
      } catch (error) {
        // A broken ledger or definition stays broken until an operator looks or a newer program reads it; anything else may pass.
        const { pauseMs, released } = this.#lettingGo.failed(tenantId, executionId);
        const created = ledger instanceof Unreadable ? undefined : ledger[0];
        const about = created?.type === "execution_created" ? { executionId, correlationId: created.payload.correlationId } : { executionId };
        this.#options.services.log.error({ ...about, pauseMs, error: messageOf(error) }, "an execution cannot be resumed; it is let go and tried again");
        await released;
      }
    }
  }

  #drive(tenantId: string, run: ExecutionRun): void {
    const key = keyOf(tenantId, run.executionId);
    this.#runs.set(key, run);
    const drive = run
      .run()
      .catch((error: unknown) => {
        this.#options.services.log.error({ executionId: run.executionId, error: messageOf(error) }, "an execution broke an invariant; it is left alone");
        run.forget();
      })
      .then((end) => {
        if (this.#runs.get(key) === run) this.#runs.delete(key);
        if (end === "lost" && !this.#stopping.signal.aborted)
          this.#options.services.log.info({ executionId: run.executionId }, "an execution was lost to another owner");
        if (end === "parked") this.#parked(run);
        if (end === "lost") void this.#letGo(run);
        else this.#lettingGo.forget(tenantId, run.executionId);
        this.#drives.delete(drive);
      });
    this.#drives.add(drive);
  }

  #parked(run: ExecutionRun): void {
    const awaited = run.awaited(this.#options.now());
    if (awaited.size > 0) this.#options.onParked?.(run.state, awaited);
    this.wake();
  }

  /** Nobody drives it any more: if this replica still owns it, it becomes due again. */
  async #letGo({ state: { tenantId, executionId }, refused }: ExecutionRun): Promise<void> {
    await (refused ? this.#lettingGo.refused(tenantId, executionId, refused) : this.#lettingGo.lost(tenantId, executionId));
    this.wake();
  }

  async #pause(durationMs: number): Promise<void> {
    const { clock } = this.#options.services;
    await Promise.race([clock.sleep(durationMs, this.#stopping.signal).catch(() => undefined), new Promise<void>((resolve) => (this.#wakeUp = resolve))]);
  }
}

function giveTo(run: ExecutionRun, command: ControlCommand): Given["promise"] {
  return run.control((state, revision, now) => applyCommand({ state, revision, now }, command), command.kind === "look");
}

/** Tenants are claimed for in turns; several rounds a second are made while anything is due. */
const roundLimits = { roundRowsMax: 2 * limits.claimRowsMax, tenantRowsMax: limits.claimRowsMax, tenantsMax: 100 };
const noRoomPauseMs = 20;
/** Between two looks for orphans when nothing failed. */
const orphansLookMs = 30_000;
const controlAttemptsMax = 20;
const controlPauseMs = 100;

function keyOf(tenantId: string, executionId: string): string {
  return `${tenantId}/${executionId}`;
}

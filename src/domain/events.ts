/**
 * The ledger's closed list of events: what can happen to an execution, and nothing else. Everything that is known of a
 * run is a fold over these (see `execution.ts`). Event payloads are stored as JSON under the names used here, so a field
 * may be added as optional but never renamed. Moments are milliseconds since the epoch and end in `At`.
 *
 * `…_started` of an effect is its write-ahead intent: durable before the effect leaves the process.
 * `…_retry_scheduled` ends an attempt that will be repeated, `…_failed` is final; both say whether the attempt surely had
 * no effect (`failed`) or may have had one (`unknown`).
 */
import type { Json, JsonObject } from "../base/json.ts";
import type { Failure } from "./failure.ts";
import type { ReportTerms } from "./report-terms.ts";
import type { AnomalyKind, EndReason, ExecutionStatus, SagaStatus, TerminalExecutionStatus } from "./states.ts";

export type Outcome = "failed" | "unknown";

/** What a standalone saga was started with, beside its steps. */
export interface SagaTerms {
  /** Completes by itself when all steps are done. */
  readonly autoComplete?: boolean;
  /** Begins only after SubmitSaga, or when its starter says that it has committed. */
  readonly prepared?: boolean;
  /** CompensationPolicy as the contract's JSON. */
  readonly compensationPolicy?: JsonObject;
  /** Endpoint that is asked whether the starter has committed and hears of the end, as the contract's JSON. */
  readonly checkBack?: JsonObject;
}

/** An event from outside that a step waits for. */
export interface AwaitedEvent {
  readonly eventType: string;
  /** Absent: only a signal to this very execution. */
  readonly correlationKey?: string;
}

/** How another try is bound to the one that is to be called. */
interface RecoveryTerms {
  /** Key of the breaker that watches it, which was away or overloaded: its first success brings the attempt forward. */
  readonly waitsFor?: string;
  /** It answers again: what was planned for later is due now. Nothing was tried. */
  readonly recovered?: boolean;
}

export interface EventPayloads {
  execution_created: {
    readonly workflowId: string;
    readonly workflowName: string;
    readonly revision: number;
    readonly input: Json;
    readonly correlationId: string;
    readonly executionKey?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly priority?: number;
    /** `api`, `parent`, `rerun`: what started it; shown to expressions as `trigger.type`. */
    readonly triggerType: string;
    readonly startAt?: number;
    readonly timeoutAt?: number;
    readonly traceparent?: string;
    readonly tracestate?: string;
    /** Ids that came with the start and go on to siblings. */
    readonly baggage?: string;
    readonly parentExecutionId?: string;
    /** Queued, and why: it begins when it is released. */
    readonly held?: "workflow_paused" | "concurrency";
    /** The execution at the top of the tree of children, when there is a parent. */
    readonly rootExecutionId?: string;
    /** Parents above it; absent: none. */
    readonly depth?: number;
    /** The parent does not wait for it. */
    readonly detached?: boolean;
    readonly rerunOf?: string;
    /** A standalone saga: its steps come from `step_enlisted`. */
    readonly saga?: SagaTerms;
  };
  execution_started: { readonly variables?: JsonObject };
  execution_paused: { readonly actor: string; readonly reason?: string };
  /** `released`: it was queued, not paused, and may begin now. */
  execution_resumed: { readonly actor: string; readonly reason?: string; readonly released?: boolean };
  execution_cancel_requested: {
    readonly actor: string;
    readonly reason?: string;
    readonly compensate?: boolean;
    /** Attempts in flight are left alone until then. */
    readonly graceUntil?: number;
    /** Why it turns back; `canceled` unless said. */
    readonly endReason?: "aborted" | "checkback_no" | "parent";
  };
  execution_ended: {
    readonly state: TerminalExecutionStatus;
    readonly endReason: EndReason;
    readonly output?: Json;
    readonly failure?: Failure;
    readonly failedStep?: string;
    /** Paths of effects that stay, because they declare no undo or it was not run. */
    readonly standingEffects?: readonly string[];
    /** An effect that declares an undo is among them: the saga ends failed, not compensated. */
    readonly compensatableStanding?: boolean;
  };
  execution_reopened: {
    readonly from: ExecutionStatus;
    readonly reason: string;
    readonly actor?: string;
    /** Paths that run again, with a fresh budget. */
    readonly steps?: readonly string[];
    /** Paths of blocks that go on with what they had fixed when they began. */
    readonly blocks?: readonly string[];
    /** End of the execution's time, counted anew. */
    readonly timeoutAt?: number;
    /** Goes on with this revision. */
    readonly revision?: number;
    /** Replaces the input from here on. */
    readonly input?: Json;
    /** Path of a step whose late success proves that something is left to undo: it goes on backwards. */
    readonly evidence?: string;
  };

  step_started: {
    /** Rendered configuration, masked; written once, on the first attempt. */
    readonly input?: Json;
    readonly idempotencyKey?: string;
    readonly deadlineAt?: number;
    /** Name of the case a conditional chose. */
    readonly branch?: string;
    /** Its outcome is reported from outside. */
    readonly reported?: ReportTerms;
  };
  step_progressed: {
    readonly percent?: number;
    readonly message?: string;
    readonly details?: Json;
    /** The action unless told. */
    readonly operation?: "compensate" | "confirm";
    /** The next sign of life comes within so many milliseconds. */
    readonly heartbeatMs?: number;
  };
  step_succeeded: {
    readonly result: Json;
    /** When a step without `step_started` began, if that was before this event's moment. */
    readonly startedAt?: number;
    readonly input?: Json;
    readonly exports?: JsonObject;
    /** The execution this result was copied from: evidence, not an effect of this run, so this run never undoes it. */
    readonly copiedFrom?: string;
    /** Evidence that came after the step was decided: it changes what is undone, not what was decided. */
    readonly late?: boolean;
  };
  step_failed: {
    readonly failure: Failure;
    readonly outcome: Outcome;
    /** The run goes on: on_error CONTINUE or a catch took it. */
    readonly handled?: boolean;
    /** Index of the catch that took it. */
    readonly caughtBy?: number;
    readonly startedAt?: number;
    readonly input?: Json;
    /** An operator's word that the action had no effect, whatever attempts before left open. */
    readonly surely?: boolean;
    readonly copiedFrom?: string;
    /** Told from outside, not concluded from silence. */
    readonly reported?: boolean;
    readonly mayRunUntil?: number;
    readonly waitsFor?: string;
  };
  step_retry_scheduled: {
    readonly failure: Failure;
    readonly outcome: Outcome;
    readonly nextAttemptAt: number;
    /** The attempt was not made (an open breaker, a full queue): it does not count, and the next one has its number. */
    readonly putBack?: boolean;
    /** The other side is still at work and is asked again; the attempt does not count. */
    readonly polled?: boolean;
    readonly reported?: boolean;
    /** The attempt was given up in silence and may go on until then: no undo before it. */
    readonly mayRunUntil?: number;
    /** It had failed for good and the saga is stuck on it: it is tried on, with a new budget of time. */
    readonly slow?: boolean;
    /** Paths of steps that were canceled when it failed and go on with it. */
    readonly steps?: readonly string[];
    /** Paths of the blocks around it, which are open again. */
    readonly blocks?: readonly string[];
  } & RecoveryTerms;
  /** `result` is what expressions see; null unless an operator gave one. */
  step_skipped: {
    readonly reason: string;
    readonly result?: Json;
    /** The word of whoever carries it out that it has done nothing. */
    readonly surely?: boolean;
  };
  step_canceled: { readonly reason: string; readonly outcome?: Outcome; readonly mayRunUntil?: number };
  /** A timer or an event is awaited; the execution may leave memory. */
  step_waiting: {
    readonly wakeAt?: number;
    readonly awaiting?: string;
    readonly startedAt?: number;
    readonly input?: Json;
    /** Any one of them ends the wait. */
    readonly events?: readonly AwaitedEvent[];
  };
  event_received: {
    readonly eventType: string;
    readonly data: Json;
    readonly dedupId?: string;
    readonly signalId?: string;
    /** Key it was published under; absent: it was sent to this execution. */
    readonly correlationKey?: string;
  };
  variables_set: { readonly variables: JsonObject; readonly actor?: string };
  /** `step` is a SagaStep as the contract's JSON, everything its undo needs included. */
  step_enlisted: { readonly step: JsonObject; readonly selfDriven?: boolean };

  compensation_started: {
    readonly input?: Json;
    readonly idempotencyKey?: string;
    readonly deadlineAt?: number;
    /** The action's outcome is unknown: the undo has to cope with "nothing there". */
    readonly mayNotHaveRun?: boolean;
    readonly generation?: number;
    readonly reported?: ReportTerms;
  };
  /** `resolved`: an operator's word that the effect is gone. */
  compensation_succeeded: { readonly result?: Json; readonly nothingToUndo?: boolean; readonly resolved?: boolean };
  compensation_retry_scheduled: {
    readonly failure: Failure;
    readonly outcome: Outcome;
    readonly nextAttemptAt: number;
    readonly putBack?: boolean;
    readonly polled?: boolean;
  } & RecoveryTerms;
  compensation_failed: {
    readonly failure: Failure;
    readonly outcome: Outcome;
    /** The budget is spent: the saga is stuck. */
    readonly exhausted?: boolean;
    /** Slow retry that goes on while stuck. */
    readonly nextAttemptAt?: number;
    /** An operator's word that the effect stays. */
    readonly abandoned?: boolean;
    readonly waitsFor?: string;
  };

  confirmation_started: { readonly input?: Json; readonly idempotencyKey?: string; readonly deadlineAt?: number; readonly reported?: ReportTerms };
  confirmation_succeeded: { readonly result?: Json; readonly resolved?: boolean };
  confirmation_retry_scheduled: {
    readonly failure: Failure;
    readonly outcome: Outcome;
    readonly nextAttemptAt: number;
    readonly putBack?: boolean;
    readonly polled?: boolean;
  } & RecoveryTerms;
  confirmation_failed: {
    readonly failure: Failure;
    readonly outcome: Outcome;
    readonly exhausted?: boolean;
    readonly nextAttemptAt?: number;
    readonly abandoned?: boolean;
    readonly waitsFor?: string;
  };

  saga_state_changed: {
    readonly state: SagaStatus;
    readonly endReason?: EndReason;
    readonly failure?: Failure;
    readonly stepPath?: string;
    /** Later end of its time. */
    readonly timeoutAt?: number;
    /** No more steps come: it completes when those it has are done. */
    readonly completeWhenIdle?: boolean;
  };
  operator_acted: { readonly actor: string; readonly action: string; readonly reason?: string; readonly stepPath?: string; readonly result?: Json };
  anomaly: { readonly kind: AnomalyKind; readonly message: string; readonly details?: Json };
}

export type EventType = keyof EventPayloads;

/** On the first event that a caller's command makes: which call it was. */
export interface ChangeStamp {
  /** Absent: its caller cannot repeat it. */
  readonly key?: string;
  /** Who asked, and by which rpc: the line of the audit log. */
  readonly actor?: string;
  readonly method?: string;
  /** What the command answered, where it has an answer. */
  readonly answer?: JsonObject;
}

/** An event before it has a number: what `decide` and the step runner produce. */
export type NewEvent = {
  [Type in EventType]: {
    readonly type: Type;
    /** Milliseconds since the epoch, from the database-synchronised clock. */
    readonly at: number;
    /** Path of the step it speaks of (`charge`, `orders[3]/charge`); empty for the execution itself. */
    readonly stepPath: string;
    /** Attempt of that step, from 1; 0 where none applies. */
    readonly attempt: number;
    /** `change`: of the first event that a repeatable command made. */
    readonly payload: EventPayloads[Type] & { readonly change?: ChangeStamp };
  };
}[EventType];

/** One line of an execution's ledger. `sequence` starts at 1 and has no gaps. */
export type ExecutionEvent = NewEvent & { readonly sequence: number };

/** Exhaustive by construction: a type added above must be named here or the file does not compile. */
const names: Record<EventType, true> = {
  execution_created: true,
  execution_started: true,
  execution_paused: true,
  execution_resumed: true,
  execution_cancel_requested: true,
  execution_ended: true,
  execution_reopened: true,
  step_started: true,
  step_progressed: true,
  step_succeeded: true,
  step_failed: true,
  step_retry_scheduled: true,
  step_skipped: true,
  step_canceled: true,
  step_waiting: true,
  event_received: true,
  variables_set: true,
  step_enlisted: true,
  compensation_started: true,
  compensation_succeeded: true,
  compensation_retry_scheduled: true,
  compensation_failed: true,
  confirmation_started: true,
  confirmation_succeeded: true,
  confirmation_retry_scheduled: true,
  confirmation_failed: true,
  saga_state_changed: true,
  operator_acted: true,
  anomaly: true,
};
export const eventTypes = Object.keys(names) as readonly EventType[];

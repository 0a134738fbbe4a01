/** What is known of one execution, as the fold of its ledger leaves it (`execution.ts` says how). */

import type { Json, JsonObject } from "../base/json.ts";
import type { AwaitedEvent, ChangeStamp, EventPayloads } from "./events.ts";
import type { Failure } from "./failure.ts";
import type { ReportWait } from "./report-terms.ts";
import type { EndReason, ExecutionStatus, OperationStatus, SagaStatus, StepStatus } from "./states.ts";

export interface ExecutionIdentity {
  readonly executionId: string;
  readonly tenantId: string;
}

/** One step's run, by path. Forward and undo state are separate: "unknown, then undone" is an honest end. */
export interface StepRun {
  readonly path: string;
  readonly name: string;
  status: StepStatus;
  attempt: number;
  /** Attempts before the step was opened again: budgets count from there. */
  attemptsBefore: number;
  /** The saga was stuck on it and it is tried on slowly. */
  slow: boolean;
  startedAt: number | undefined;
  endedAt: number | undefined;
  /** Start of the first attempt since; the schedule_to_close budget counts from here. */
  firstStartedAt: number | undefined;
  /** Next attempt, or end of a wait. */
  wakeAt: number | undefined;
  /** Key of the breaker whose first success brings the next attempt forward. */
  waitsFor: string | undefined;
  input: Json | undefined;
  result: Json | undefined;
  failure: Failure | undefined;
  handled: boolean;
  caughtBy: number | undefined;
  /** An attempt began, or the block was opened. */
  begun: boolean;
  branch: string | undefined;
  action: OperationStatus;
  /** An attempt before the present one may have had an effect, whatever later ones say. */
  leftUnknown: boolean;
  /** The attempt under way may be at work until then, if nothing is heard of it. */
  attemptUntil: number | undefined;
  /** Sequence of the event that ended the action; the undo order is the reverse of it. */
  outcomeSequence: number;
  /** Set while the open attempt's outcome is awaited from outside. */
  report: ReportWait | undefined;
  /** Failures that were reported, by attempt: a repeat gets the same answer. */
  failuresReported: ReadonlyMap<number, Failure> | undefined;
  /** Attempts whose later report contradicted what had been decided. */
  contradictedBy: readonly number[];
  /** Attempts that were given up unheard of may go on until then (`patience.ts`). */
  mayRunUntil: number | undefined;
  /** The execution that carries out, or carried out, its newest attempt. */
  childId: string | undefined;
  /** Events of which any one ends the wait, while it waits for events. */
  awaits: readonly AwaitedEvent[] | undefined;
  /** It has waited for events at some time. */
  hasWaited: boolean;
  undo: UndoRun | undefined;
  /** Its confirmation, once one is due. */
  confirm: UndoRun | undefined;
}

/** The run of a compensation or of a confirmation. */
export interface UndoRun {
  status: OperationStatus;
  attempt: number;
  /** Attempts before an operator asked for another try: budgets count from there. */
  attemptsBefore: number;
  firstStartedAt: number;
  wakeAt: number | undefined;
  /** As of the step. */
  waitsFor: string | undefined;
  endedAt: number | undefined;
  failure: Failure | undefined;
  /** Set while the open attempt's outcome is awaited from outside. */
  report: ReportWait | undefined;
  /** How often proof of a late success made another undo necessary; names the keys of its calls. */
  generation: number;
  /** An operator decided that the effect stays. */
  abandoned: boolean;
  /** Proof of a late success came while it was under way. */
  isOutrun: boolean;
}

/** A step that joined by StartSaga or EnlistStep, as the contract's SagaStep in JSON. */
export interface EnlistedStep {
  readonly name: string;
  readonly step: JsonObject;
  readonly selfDriven: boolean;
}

export interface ExecutionState extends ExecutionIdentity {
  /** Number of the last folded event; 0 before the first. */
  sequence: number;
  status: ExecutionStatus;
  saga: SagaStatus;
  endReason: EndReason | undefined;
  info: EventPayloads["execution_created"] | undefined;
  createdAt: number;
  startedAt: number | undefined;
  endedAt: number | undefined;
  variables: JsonObject;
  /** Steps that joined, in their order; a new list with each change. */
  enlisted: readonly EnlistedStep[];
  /** The saga was told that no more steps come. */
  completeWhenIdle: boolean;
  readonly steps: Map<string, StepRun>;
  /** Why the saga turned back: set once per opening. */
  turn: { readonly reason: EndReason; readonly failure: Failure | undefined; readonly stepPath: string | undefined } | undefined;
  /** The point of no return has been passed: the run can only go on to its end. */
  pastPivot: boolean;
  cancel: EventPayloads["execution_cancel_requested"] | undefined;
  /** Who paused it, and why; undefined while it is not paused. */
  pause: { readonly actor: string; readonly reason: string; readonly at: number } | undefined;
  paused: boolean;
  /** Queued: it does not begin until it is released. */
  held: EventPayloads["execution_created"]["held"];
  /** What a retry changed of the execution's own row. */
  overrides: { readonly revision?: number; readonly input?: Json };
  /** What keeps the saga from going on, while it is stuck. */
  stuck: Failure | undefined;
  output: Json | undefined;
  failure: Failure | undefined;
  failedStep: string | undefined;
  standingEffects: readonly string[];
  /** Paths of the steps that wait for events, oldest wait first. */
  readonly waits: Set<string>;
  /** Paths of the steps whose action or undo a child carries out at this moment. */
  readonly children: Set<string>;
  /** Ids of the signals that were received: each is received once. */
  readonly received: Set<string>;
  /** Repeatable commands that were carried out, by their keys, oldest first. */
  readonly changes: Map<string, ChangeStamp>;
  /** `steps` as expressions see them, kept up to date event by event. */
  readonly stepsScope: JsonObject;
}

export function emptyExecution(identity: ExecutionIdentity): ExecutionState {
  return {
    ...identity,
    sequence: 0,
    status: "pending",
    saga: "running",
    endReason: undefined,
    info: undefined,
    createdAt: 0,
    startedAt: undefined,
    endedAt: undefined,
    variables: {},
    enlisted: [],
    completeWhenIdle: false,
    steps: new Map(),
    turn: undefined,
    pastPivot: false,
    cancel: undefined,
    pause: undefined,
    paused: false,
    held: undefined,
    overrides: {},
    stuck: undefined,
    output: undefined,
    failure: undefined,
    failedStep: undefined,
    standingEffects: [],
    waits: new Set(),
    children: new Set(),
    received: new Set(),
    changes: new Map(),
    stepsScope: Object.create(null) as JsonObject,
  };
}

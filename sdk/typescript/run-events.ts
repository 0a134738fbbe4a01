/**
 * What a watch tells: the messages of WatchExecution folded into events that carry the state after them. Positions only grow:
 * what was told before (a repeat after a reconnect, an older snapshot) is dropped, so no state goes back.
 */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type ExecutionEvent, ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { type ExecutionSnapshot, ExecutionStateSchema, StepStateSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { WatchExecutionResponse } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { enumName, type PlainObject, toPlain } from "./plain.ts";
import { type RunStatus, type RunStatusName, runStatusOf, terminalStates } from "./run-status.ts";
import { executionStateAfter, type StepStateName, stepStateAfter } from "./states-after.ts";

interface Told {
  /** Number in the execution's ledger, from 1; a snapshot includes everything up to it. */
  readonly sequence: number;
  /** For example "step_failed"; "snapshot". */
  readonly event: string;
  readonly time: Date | undefined;
}

/** Something happened to a step. */
export interface StepEvent extends Told {
  readonly type: "step";
  /** Its path: "charge", in a loop "orders[3]/charge". */
  readonly step: string;
  /** State of the step after the event. */
  readonly state: StepStateName;
  /** From 1; 0 where none applies. */
  readonly attempt: number;
  /** The event's own fields, for example `failure` or `nextAttemptTime`. */
  readonly data: PlainObject;
}

/** Something happened to the execution as a whole. */
export interface ExecutionTold extends Told {
  readonly type: "execution";
  /** State of the execution after the event. WAITING is told by snapshots only: no event says that nothing is to be done now. */
  readonly state: RunStatusName;
  readonly data: PlainObject;
}

/** The state at a moment: first on a watch from now, later in place of events that a slow reader missed. */
export interface SnapshotTold extends Told {
  readonly type: "snapshot";
  readonly state: RunStatusName;
  readonly run: RunStatus;
  /** States of the steps that have begun, by path. */
  readonly steps: Readonly<Record<string, StepStateName>>;
}

export type RunEvent = StepEvent | ExecutionTold | SnapshotTold;

/** Where a watch is. */
export class WatchPosition {
  /** Everything up to this number is known; undefined before a watch from now has begun. */
  sequence: bigint | undefined;
  /** The id that the service gave; the watch stays with it when it was opened by `key:<execution_key>`. */
  executionId: string;
  #state: RunStatusName = "PENDING";
  readonly #steps = new Map<string, StepStateName>();

  constructor(executionId: string, sequence: bigint | undefined) {
    this.executionId = executionId;
    this.sequence = sequence;
  }

  /** The execution has ended, as far as is known. */
  get hasEnded(): boolean {
    return terminalStates.has(this.#state);
  }

  /** Takes one message in; answers with what is new to a reader. */
  take({ item }: WatchExecutionResponse): RunEvent | undefined {
    switch (item.case) {
      case "snapshot":
        return this.#takeSnapshot(item.value);
      case "event":
        return this.#takeEvent(item.value);
      case "heartbeat":
        if (this.sequence !== undefined && item.value.lastSequence > this.sequence) this.sequence = item.value.lastSequence;
        return undefined;
      default:
        return undefined;
    }
  }

  #takeSnapshot({ sequence, execution, steps }: ExecutionSnapshot): SnapshotTold | undefined {
    if (this.sequence !== undefined && sequence < this.sequence) return undefined;
    const isNew = this.sequence === undefined || sequence > this.sequence;
    this.sequence = sequence;
    if (!execution) return undefined;
    if (execution.id !== "") this.executionId = execution.id;
    this.#state = enumName(ExecutionStateSchema, execution.state) as RunStatusName;
    for (const step of steps) this.#steps.set(step.path, enumName(StepStateSchema, step.state) as StepStateName);
    if (!isNew) return undefined;
    const told = { event: "snapshot", sequence: Number(sequence), time: undefined };
    return { type: "snapshot", ...told, state: this.#state, run: runStatusOf(execution), steps: Object.fromEntries(this.#steps) };
  }

  #takeEvent(event: ExecutionEvent): StepEvent | ExecutionTold | undefined {
    // Live ones are not durable yet and carry no number; their durable twin follows.
    if (event.live || (this.sequence !== undefined && event.sequence <= this.sequence)) return undefined;
    this.sequence = event.sequence;
    if (event.executionId !== "") this.executionId = event.executionId;
    const { type, stepPath: step, attempt } = event;
    const told = { sequence: Number(event.sequence), event: type, time: event.time && timestampDate(event.time), data: payloadOf(event) };
    if (step === "") {
      this.#state = executionStateAfter(event, this.#state);
      return { type: "execution", ...told, state: this.#state };
    }
    const state = stepStateAfter(event, this.#steps.get(step) ?? "PENDING");
    this.#steps.set(step, state);
    return { type: "step", ...told, step, state, attempt };
  }
}

function payloadOf(event: ExecutionEvent): PlainObject {
  const name = event.payload.case;
  return name === undefined ? {} : ((toPlain(ExecutionEventSchema, event)[name] ?? {}) as PlainObject);
}

/** An execution as plain values. */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { EndReasonSchema, type Execution, type ExecutionState, ExecutionStateSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Failure, FailureSchema } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import { enumName, type Plain, type PlainObject, toPlain, valueToPlain } from "./plain.ts";

/** State of an execution. A newer service may know more of them. */
export type RunStatusName = Exclude<keyof typeof ExecutionState, "UNSPECIFIED">;

export const terminalStates: ReadonlySet<string> = new Set<RunStatusName>(["COMPLETED", "COMPENSATED", "FAILED", "CANCELED", "TIMED_OUT", "TERMINATED"]);

/** Why something inside a run failed. */
export interface RunFailure {
  /** Error name, for example "HTTP.402" or "WORKER.card_declined". */
  readonly name: string;
  readonly message: string;
  /** Path of the step where it began; empty = the execution itself. */
  readonly step: string;
  /** Facts for programs. */
  readonly details: Plain | undefined;
}

export interface RunStatus {
  readonly id: string;
  readonly state: RunStatusName;
  /** Why it ended or turns back: SUCCESS, STEP_FAILED, CANCELED …; undefined while it runs forward. */
  readonly endReason: string | undefined;
  /** Name at the start, and revision. */
  readonly workflow: string;
  readonly revision: number;
  readonly input: Plain | undefined;
  /** Set when it is COMPLETED. */
  readonly output: Plain | undefined;
  /** Fields that are there but did not come along, as all together they are larger than 3 MiB: `input`, `output`, `variables`. */
  readonly omittedFields: readonly string[];
  readonly failure: RunFailure | undefined;
  readonly failedStep: string | undefined;
  /** Paths of steps whose effects stay. */
  readonly standingEffects: readonly string[];
  readonly executionKey: string | undefined;
  readonly correlationId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createTime: Date | undefined;
  readonly startTime: Date | undefined;
  readonly endTime: Date | undefined;
}

export function runStatusOf(execution: Execution): RunStatus {
  const { id, state, endReason, workflowName: workflow, revision, output, failure, failedStep, standingEffects, correlationId, labels } = execution;
  const { input, omittedFields } = execution;
  return {
    id,
    state: enumName(ExecutionStateSchema, state) as RunStatusName,
    endReason: endReason === 0 ? undefined : enumName(EndReasonSchema, endReason),
    workflow,
    revision,
    input: input as PlainObject | undefined,
    output: valueToPlain(output),
    omittedFields,
    failure: failure && failureOf(failure),
    failedStep: failedStep === "" ? undefined : failedStep,
    standingEffects,
    executionKey: execution.executionKey === "" ? undefined : execution.executionKey,
    correlationId,
    labels,
    createTime: execution.createTime && timestampDate(execution.createTime),
    startTime: execution.startTime && timestampDate(execution.startTime),
    endTime: execution.endTime && timestampDate(execution.endTime),
  };
}

function failureOf(failure: Failure): RunFailure {
  const { name, message, stepPath: step } = failure;
  return { name, message, step, details: toPlain(FailureSchema, failure)["details"] };
}

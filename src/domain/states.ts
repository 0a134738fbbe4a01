/** The closed lists of states, written once. The same words (upper case) stand in the contract, lower case in SQL checks. */

export const executionStates = [
  "pending",
  "running",
  "waiting",
  "paused",
  "compensating",
  "stuck",
  "completed",
  "compensated",
  "failed",
  "canceled",
  "timed_out",
  "terminated",
] as const;
export type ExecutionStatus = (typeof executionStates)[number];

const terminalExecutionStates = ["completed", "compensated", "failed", "canceled", "timed_out", "terminated"] as const;
export type TerminalExecutionStatus = (typeof terminalExecutionStates)[number];

export const sagaStates = ["initializing", "running", "completing", "completed", "compensating", "compensated", "stuck", "failed"] as const;
export type SagaStatus = (typeof sagaStates)[number];

export const openSagaStates = ["initializing", "running", "completing", "compensating", "stuck"] as const satisfies readonly SagaStatus[];

/** What is put on record because it ought not to happen. */
const anomalyKinds = ["late_success", "contradictory_report"] as const;
export type AnomalyKind = (typeof anomalyKinds)[number];

export const endReasons = ["success", "step_failed", "canceled", "aborted", "timeout", "terminated", "parent", "checkback_no", "operator"] as const;
export type EndReason = (typeof endReasons)[number];

export const stepStates = [
  "pending",
  "queued",
  "running",
  "waiting",
  "retrying",
  "completed",
  "failed",
  "skipped",
  "canceled",
  "compensating",
  "compensated",
  "compensation_failed",
] as const;
export type StepStatus = (typeof stepStates)[number];

/** State of one operation (action, compensation, confirmation) of a step; forward and undo state are separate fields. */
export const operationStates = [
  "none",
  "pending",
  "dispatched",
  "in_progress",
  "succeeded",
  "nothing_to_undo",
  "failed",
  "unknown",
  "exhausted",
  "resolved",
  "skipped",
] as const;
export type OperationStatus = (typeof operationStates)[number];

/** What a step may do to the world and how it is taken back; see saga rules. */
export const compensationKinds = ["compensatable", "pivot", "retriable", "readonly"] as const;
export type CompensationKind = (typeof compensationKinds)[number];

const terminal: ReadonlySet<string> = new Set(terminalExecutionStates);
export function isTerminal(status: ExecutionStatus): status is TerminalExecutionStatus {
  return terminal.has(status);
}

const openSteps: ReadonlySet<string> = new Set<StepStatus>(["pending", "queued", "running", "waiting", "retrying"]);
/** Its action has a final outcome. A step that has not begun is not over. */
export function isStepOver(status: StepStatus | undefined): boolean {
  return status !== undefined && !openSteps.has(status);
}

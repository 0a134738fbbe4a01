/**
 * What becomes of an execution whose events the database refuses to store for a reason that lies in them. Repeating the turn would
 * carry out its effects again and again, under the same keys, and be refused again: so what made the refused event fails with a
 * name, like a result that is too large, and the definition's own policies (catch, on_error, undo) say what follows.
 */
import { stepAt } from "./control-paths.ts";
import { failExecution } from "./decide.ts";
import type { ExecutionEvent, NewEvent } from "./events.ts";
import { type Failure, failure } from "./failure.ts";
import { failedEvent, type SettleContext, settleAction, settleConfirm, settleUndo } from "./settle.ts";
import { isTerminal } from "./states.ts";

/** Where the refusal lies: an operation of a step, or (undefined) the execution itself. */
export interface RefusedWrite {
  readonly sqlState: string;
  readonly stepPath: string | undefined;
  readonly operation: "action" | "compensate" | "confirm";
}

/** Events that follow from the ledger and come again with the next turn; all others are somebody's command, which does not. */
const operations: Readonly<Partial<Record<ExecutionEvent["type"], RefusedWrite["operation"]>>> = {
  execution_started: "action",
  execution_ended: "action",
  saga_state_changed: "action",
  variables_set: "action",
  event_received: "action",
  step_started: "action",
  step_waiting: "action",
  step_retry_scheduled: "action",
  step_succeeded: "action",
  step_failed: "action",
  step_skipped: "action",
  step_canceled: "action",
  compensation_started: "compensate",
  compensation_retry_scheduled: "compensate",
  compensation_succeeded: "compensate",
  compensation_failed: "compensate",
  confirmation_started: "confirm",
  confirmation_retry_scheduled: "confirm",
  confirmation_succeeded: "confirm",
  confirmation_failed: "confirm",
};

/**
 * The first event of a step in a refused turn is taken for the guilty one; turns after a refusal hold one only. Undefined: the turn
 * held a command, whose caller is told, and without it the execution goes on.
 */
export function refusedWrite(sqlState: string, events: readonly ExecutionEvent[]): RefusedWrite | undefined {
  if (events.some(({ type }) => operations[type] === undefined)) return undefined;
  const { type, stepPath } = events.find((event) => event.stepPath !== "") ?? { type: "execution_started", stepPath: undefined };
  return { sqlState, stepPath, operation: operations[type] ?? "action" };
}

/** Events that end what cannot be stored, in the state that the ledger has; none when nothing is open there any more. */
export function endRefused(context: SettleContext, { sqlState, stepPath, operation }: RefusedWrite, random: number): readonly NewEvent[] {
  const { state, revision, now } = context;
  if (isTerminal(state.status)) return [];
  const cause = refusedFailure(sqlState);
  const step = stepPath === undefined ? undefined : stepAt(revision.definition, state, stepPath);
  if (!step || stepPath === undefined) {
    const isTurned = state.turn !== undefined || state.saga === "compensating" || state.saga === "stuck";
    return isTurned || state.info === undefined ? [] : [failExecution(revision.definition, state, cause, undefined, now)];
  }
  const run = state.steps.get(stepPath);
  const outcome = { kind: "failed", outcome: "unknown", failure: cause } as const;
  if (operation === "action") {
    if (run?.status === "running" || run?.status === "waiting") return settleAction(context, { step, path: stepPath, attempt: run.attempt }, outcome, random);
    const isTurned = state.turn !== undefined || state.saga === "compensating";
    const attempt = (run?.attempt ?? 0) + 1;
    return isTurned || (run && run.status !== "pending") ? [] : [failedEvent(context, { step, path: stepPath, attempt }, cause, "failed")];
  }
  const under = operation === "compensate" ? run?.undo : run?.confirm;
  if (under?.status !== "dispatched") return [];
  const settle = operation === "compensate" ? settleUndo : settleConfirm;
  return settle(context, { step, path: stepPath, attempt: under.attempt }, outcome, random);
}

function refusedFailure(sqlState: string): Failure {
  return failure("LIMIT.STORAGE", `the database refuses to store what came of it (SQLSTATE ${sqlState})`);
}

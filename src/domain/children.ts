/**
 * Executions that a step starts and waits for (`sub_workflow`): which one it is, what its end means to the step, and what
 * becomes of it when its parent does not wait any longer.
 *
 * The id of a child follows from its parent, the step's path and the attempt, and stands in the parent's ledger before the
 * child exists, so starting it twice starts one. How the engine finds out how it stands is no business of these rules.
 */
import { createHash } from "node:crypto";
import { formatId, uuidV7 } from "../base/ids.ts";
import type { Json } from "../base/json.ts";
import type { Step } from "./definition.ts";
import type { ExecutionState } from "./execution-state.ts";
import { type Failure, failure } from "./failure.ts";
import type { ReportedOutcome } from "./reported-outcome.ts";
import { type ExecutionStatus, isTerminal, type SagaStatus } from "./states.ts";

/** Sorts by the moment at which the attempt began, as every id does. */
export function childIdOf(parentId: string, path: string, attempt: number, at: number): string {
  return formatId("execution", uuidV7(at, createHash("sha256").update(`${parentId}\n${path}\n${attempt}`).digest().subarray(0, 10)));
}

export type ClosePolicy = "cancel" | "abandon";

/** What becomes of an open child when its parent does not wait for it any more; undefined: the step has none. */
export function closePolicyOf(step: Step | undefined): ClosePolicy | undefined {
  if (step?.reportedFrom !== "child") return undefined;
  return step.config.source["parent_close_policy"] === "PARENT_CLOSE_POLICY_ABANDON" ? "abandon" : "cancel";
}

/** The parent starts it and goes on. */
export function isDetached(step: Step): boolean {
  return step.config.source["detached"] === true;
}

/** An operation of a step that a child carries out. */
export interface OpenChild {
  readonly path: string;
  readonly name: string;
  readonly operation: "action" | "compensate";
  readonly attempt: number;
  readonly generation: number;
  readonly childId: string;
  /** What the child is started with. */
  readonly config: Json;
  /** Longest time of the child, in milliseconds. */
  readonly closeMs: number;
}

export function openChildren(state: ExecutionState): OpenChild[] {
  if (isTerminal(state.status)) return [];
  return [...state.children].flatMap((path): OpenChild[] => {
    const run = state.steps.get(path);
    const report = run?.report ?? run?.undo?.report;
    if (!run || report?.childId === undefined) return [];
    const operation = run.report ? "action" : "compensate";
    const { attempt, childId, closeMs } = report;
    return [{ path, name: run.name, operation, attempt, generation: run.undo?.generation ?? 0, childId, config: run.input ?? null, closeMs }];
  });
}

/** A child as its row tells. */
export interface ChildFacts {
  readonly status: ExecutionStatus;
  readonly saga: SagaStatus;
  readonly output: Json;
  readonly failure: Failure | undefined;
}

/** What the end of a child means to the step that waits for it. `isCalledOff`: the step is not wanted any more. */
export function childOutcome(childId: string, child: ChildFacts, isCalledOff: boolean): ReportedOutcome {
  const { status, saga, output } = child;
  if (status === "completed") return { kind: "succeeded", result: output };
  const name = isCalledOff ? "CANCELED" : `CHILD.${status.toUpperCase()}`;
  // What it did and did not undo stays: the step is undone when the parent turns back.
  return { kind: "failed", outcome: saga === "failed" ? "unknown" : "failed", failure: failureOf(name, childId, child) };
}

export function failedChild(name: string, message: string, childId: string): ReportedOutcome {
  return { kind: "failed", outcome: "failed", failure: failure(name, message, { execution_id: childId }) };
}

function failureOf(name: string, childId: string, { status, failure: cause }: ChildFacts): Failure {
  const because = cause ? `: ${cause.name}: ${cause.message}` : "";
  return { ...failure(name, `the child execution ended ${status.toUpperCase()}${because}`, { execution_id: childId }), ...(cause ? { cause } : {}) };
}

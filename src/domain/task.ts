/** Tasks: operations that stand in a queue until a worker takes them. */
import type { Json, JsonObject } from "../base/json.ts";
import type { OperationRef } from "./task-token.ts";

/** Names of queues, task types and workers. */
export const queueDefault = "default";

export interface NewTask extends Omit<OperationRef, "executionId"> {
  /** `taskIdOf` its operation. */
  readonly id: string;
  readonly queue: string;
  readonly taskType: string;
  /** A worker gets the task only if it has all of these. */
  readonly requiredLabels: Readonly<Record<string, string>>;
  /** 1 to 9; higher first. */
  readonly priority: number;
  readonly idempotencyKey: string;
  readonly input: JsonObject;
  /** For an undo: the action's recorded result; undefined when its outcome is unknown. */
  readonly actionOutput: Json | undefined;
  readonly mayNotHaveRun: boolean;
  readonly correlationId: string;
  readonly traceparent: string;
  readonly tracestate: string | undefined;
  /** As the execution keeps it: what came with its start. */
  readonly baggage: string | undefined;
  /** Time of one attempt from its taking. */
  readonly closeMs: number;
  readonly heartbeatMs: number | undefined;
  readonly createdAt: number;
  /** End of the wait for a worker; undefined: it waits as long as it takes. */
  readonly startBy: number | undefined;
}

/** A task that a worker has. */
export interface TakenTask extends Omit<NewTask, "requiredLabels" | "priority" | "startBy"> {
  readonly executionId: string;
  readonly takenAt: number;
  /** Results after it count as unknown. */
  readonly deadlineAt: number;
}

/**
 * Taking a task is not in the ledger (it would wake the execution), so a step that a worker has begun is QUEUED there until its first sign
 * of life. Who reads steps is shown what the queue knows: RUNNING. Streams show it with that sign of life.
 */
import { type ExecutionStep, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Caller } from "../base/caller.ts";
import type { RpcParts } from "./parts.ts";

/** Changes the steps it is given; asks the queue only when one of them is QUEUED. */
export async function showTaken({ tasks }: Pick<RpcParts, "tasks">, { tenantId }: Caller, executionId: string, steps: readonly ExecutionStep[]): Promise<void> {
  const queued = steps.filter(({ state }) => state === StepState.QUEUED);
  if (queued.length === 0) return;
  const taken = await tasks.takenPaths(tenantId, executionId);
  for (const step of queued) if (taken.has(step.path)) step.state = StepState.RUNNING;
}

/** What workers say of their tasks: outcomes and signs of life, each with its own answer. */
import { create } from "@bufbuild/protobuf";
import {
  type TaskCompletion,
  type TaskCompletionStatus,
  TaskCompletionStatusSchema,
  type TaskHeartbeat,
  type TaskHeartbeatStatus,
  TaskHeartbeatStatusSchema,
} from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, messageOf, missingField } from "../base/errors.ts";
import { type Json, storable } from "../base/json.ts";
import type { RecordedOutcome, ReportDecision, ReportedOutcome } from "../domain/reported-outcome.ts";
import { type OperationRef, openToken, taskIdOf } from "../domain/task-token.ts";
import { statusOf } from "./error-status.ts";
import type { RpcParts } from "./parts.ts";
import { decisionToMessage, outcomeOfResult, recordedToResult } from "./wire/task.ts";
import { timestampOf } from "./wire/time.ts";
import { jsonFromValue } from "./wire/value.ts";

interface Said {
  readonly taskId: string;
  readonly token: string;
}

/** Reports under way at once for one call. */
const reportsMax = 64;

export async function completeTasks(parts: RpcParts, caller: Caller, results: readonly TaskCompletion[]): Promise<TaskCompletionStatus[]> {
  const refs = await openTokens(parts, caller, results);
  const items = results.map((completion, index) => ({ completion, ref: refs[index] as OperationRef | AppError, index }));
  return await inLanes(
    items,
    ({ ref }) => (ref instanceof AppError ? "" : ref.executionId),
    async ({ completion, ref, index }) => {
      const { taskId } = completion;
      try {
        if (ref instanceof AppError) throw ref;
        return create(TaskCompletionStatusSchema, { taskId, ...(await completeOne(parts, caller, completion, ref, `results[${index}].result`)) });
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        return create(TaskCompletionStatusSchema, { taskId, status: { case: "error", value: statusOf(error) } });
      }
    },
  );
}

async function completeOne(parts: RpcParts, caller: Caller, { taskId, result }: TaskCompletion, ref: OperationRef, field: string) {
  if (!result) throw missingField(field);
  const outcome = outcomeOfResult(result, ref.operation, field);
  if (outcome.kind === "in_progress") await parts.tasks.extend(caller.tenantId, [{ taskId, hasNews: false, ...intervalOf(outcome) }]);
  const answer = await report(parts, caller, ref, outcome);
  const recorded = answer["recorded"] as RecordedOutcome | undefined;
  const decision = decisionToMessage[answer["decision"] as ReportDecision];
  return { status: { case: "decision" as const, value: decision }, ...(recorded === undefined ? {} : { recorded: recordedToResult(recorded) }) };
}

export async function heartbeatTasks(parts: RpcParts, caller: Caller, heartbeats: readonly TaskHeartbeat[]): Promise<TaskHeartbeatStatus[]> {
  const refs = await openTokens(parts, caller, heartbeats);
  const valid = heartbeats.filter((_, index) => !(refs[index] instanceof AppError));
  const held = await parts.tasks.extend(
    caller.tenantId,
    valid.map((heartbeat) => ({ taskId: heartbeat.taskId, hasNews: hasNews(heartbeat) })),
  );
  return heartbeats.map((heartbeat, index) => {
    const { taskId } = heartbeat;
    const ref = refs[index] as OperationRef | AppError;
    if (ref instanceof AppError) return create(TaskHeartbeatStatusSchema, { taskId, error: statusOf(ref) });
    const task = held.get(taskId);
    if (!task) return create(TaskHeartbeatStatusSchema, { taskId, cancel: true, error: statusOf(notHeld()) });
    if (task.tell || heartbeat.logs.length > 0) tellProgress(parts, caller, ref, heartbeat);
    return create(TaskHeartbeatStatusSchema, { taskId, cancel: task.cancelRequested, expireTime: timestampOf(task.expiresAt) });
  });
}

/** The worker does not wait for it: what it tells is for watchers, and the next sign of life tells it again. */
function tellProgress(parts: RpcParts, caller: Caller, ref: OperationRef, { percent, message, details, logs }: TaskHeartbeat): void {
  const said = jsonFromValue(details);
  const kept: Json | undefined = logs.length === 0 ? said : { ...(said === undefined ? {} : { details: said }), logs: logs.map((line) => storable(line)) };
  const outcome: ReportedOutcome = {
    kind: "in_progress",
    ...(percent === undefined ? {} : { percent }),
    ...(message === "" ? {} : { message: String(storable(message)) }),
    ...(kept === undefined ? {} : { details: kept }),
  };
  void report(parts, caller, ref, outcome).catch((error: unknown) => {
    if (!(error instanceof AppError)) parts.log.warn({ executionId: ref.executionId, error: messageOf(error) }, "progress of a task could not be written");
  });
}

function hasNews({ percent, message, details }: TaskHeartbeat): boolean {
  return percent !== undefined || message !== "" || details !== undefined;
}

function intervalOf(outcome: Extract<ReportedOutcome, { kind: "in_progress" }>): { heartbeatMs?: number } {
  return outcome.heartbeatMs === undefined ? {} : { heartbeatMs: 3 * outcome.heartbeatMs };
}

async function report(parts: RpcParts, caller: Caller, ref: OperationRef, outcome: ReportedOutcome): Promise<Record<string, unknown>> {
  const { executionId, ...operation } = ref;
  try {
    return (await parts.engine.control(caller, executionId, { kind: "report", ...operation, outcome, random: Math.random() })) ?? {};
  } catch (error) {
    // Deleted with its time of keeping: the task is as unknown as any other.
    if (error instanceof AppError && error.reason === "EXECUTION_NOT_FOUND") throw unknownTask(taskIdOf(ref));
    throw error;
  }
}

/** What each token stands for, or why it is refused. Another tenant's task is as unknown as one that never was. */
async function openTokens(parts: RpcParts, { tenantId }: Caller, said: readonly Said[]): Promise<(OperationRef | AppError)[]> {
  const refs = said.map(({ taskId, token }) => {
    const ref = openToken(parts.taskTokenKey, tenantId, token);
    return ref && taskIdOf(ref) === taskId ? ref : undefined;
  });
  const unclear = said.filter((_, index) => refs[index] === undefined).map(({ taskId }) => taskId);
  const known = unclear.length === 0 ? new Set<string>() : await parts.tasks.known(tenantId, unclear);
  return said.map(({ taskId }, index) => refs[index] ?? (known.has(taskId) ? wrongToken(taskId) : unknownTask(taskId)));
}

function wrongToken(taskId: string): AppError {
  return new AppError("TOKEN_INVALID", `the token is not the one that came with task ${taskId}`, { metadata: { taskId } });
}

function unknownTask(taskId: string): AppError {
  return new AppError("TASK_NOT_FOUND", `task ${taskId} does not exist`, { metadata: { taskId } });
}

function notHeld(): AppError {
  return new AppError("STALE_TOKEN", "this attempt is over or was given up; stop working on it. If it has succeeded, report that all the same");
}

/** Works on items side by side, but on those with the same key one after the other, in their order. */
async function inLanes<Item, Result>(
  items: readonly Item[],
  keyOf: (item: Item, index: number) => string,
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const lanes = [...Map.groupBy(items.keys(), (index) => keyOf(items[index] as Item, index)).values()];
  const worker = async (): Promise<void> => {
    for (let lane = lanes.pop(); lane; lane = lanes.pop()) for (const index of lane) results[index] = await work(items[index] as Item, index);
  };
  await Promise.all(Array.from({ length: Math.min(reportsMax, lanes.length) }, worker));
  return results;
}

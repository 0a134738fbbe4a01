/** WorkflowService: commands of callers that end, pause, repeat or delete executions, and counting them. */
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  CancelExecutionResponseSchema,
  CompensationChoice,
  CountExecutionsResponseSchema,
  DeleteExecutionResponseSchema,
  PauseExecutionResponseSchema,
  type RerunExecutionRequest,
  RerunExecutionResponseSchema,
  ResumeExecutionResponseSchema,
  type RetryExecutionRequest,
  RetryExecutionResponseSchema,
  TerminateExecutionResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, violationsError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { RerunSource } from "../domain/control-rerun.ts";
import { outlineOf } from "../domain/control-retry.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import { applyEvent } from "../domain/execution.ts";
import { emptyExecution } from "../domain/execution-state.ts";
import { isTerminal } from "../domain/states.ts";
import { ledgerPageRows } from "../engine/read-execution.ts";
import { checkInput, type StartRequest } from "../engine/start-execution.ts";
import { type CountBy, type CountField, countFields } from "../store/sql/count-executions.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { executionNotFound, readExecutionMessage } from "./read-execution-message.ts";
import { sendCommand } from "./send-command.ts";
import { executionFromState } from "./wire/execution.ts";
import { executionFilterOf } from "./wire/list-filters.ts";

type ControlRpcs = Pick<
  ServiceImpl<typeof WorkflowService>,
  "cancelExecution" | "terminateExecution" | "pauseExecution" | "resumeExecution" | "retryExecution" | "rerunExecution" | "deleteExecution" | "countExecutions"
>;

const gracePeriodMsDefault = 10_000;
const groupsMax = 1_000;

export function controlRpcs(parts: RpcParts): ControlRpcs {
  const send = async (request: { executionId: string; validateOnly: boolean }, context: HandlerContext, command: (actor: string) => ControlCommand) => {
    const caller = callerOf(context);
    const { execution } = await sendCommand(parts, caller, request, command(caller.actor));
    return { execution };
  };
  return {
    async cancelExecution(request, context) {
      const { reason, gracePeriod, compensate } = request;
      const choice = compensate === CompensationChoice.NO ? { compensate: false } : compensate === CompensationChoice.YES ? { compensate: true } : {};
      const graceMs = gracePeriod ? durationMs(gracePeriod) : gracePeriodMsDefault;
      return create(CancelExecutionResponseSchema, await send(request, context, (actor) => ({ kind: "cancel", actor, reason, graceMs, ...choice })));
    },

    async terminateExecution(request, context) {
      const { reason } = request;
      return create(TerminateExecutionResponseSchema, await send(request, context, (actor) => ({ kind: "terminate", actor, reason })));
    },

    async pauseExecution(request, context) {
      const { reason } = request;
      return create(PauseExecutionResponseSchema, await send(request, context, (actor) => ({ kind: "pause", actor, reason })));
    },

    async resumeExecution(request, context) {
      const { reason } = request;
      return create(ResumeExecutionResponseSchema, await send(request, context, (actor) => ({ kind: "resume", actor, reason })));
    },

    async retryExecution(request, context) {
      const caller = callerOf(context);
      const { execution } = await sendCommand(parts, caller, request, await retryCommand(parts, caller, request));
      return create(RetryExecutionResponseSchema, { execution });
    },

    async rerunExecution(request, context) {
      const caller = callerOf(context);
      const start = await rerunRequest(parts, caller, request);
      if (request.validateOnly) return create(RerunExecutionResponseSchema, { execution: executionFromState(await parts.starter.preview(caller, start)) });
      const { executionId, existing } = await parts.starter.start(caller, start);
      if (existing) context.responseHeader.set("idempotent-replayed", "true");
      return create(RerunExecutionResponseSchema, { execution: await readExecutionMessage(parts, caller, executionId, true) });
    },

    async deleteExecution(request, context) {
      const caller = callerOf(context);
      for (let attempt = 1; ; attempt++) {
        const record = await parts.executions.getExecution(caller, request.executionId);
        if (!record) throw executionNotFound(request.executionId);
        if (record.endedAt === undefined) throw notTerminal(record.id, record.state);
        await refuseOpenParents(parts, caller, record.parentExecutionId);
        if (request.validateOnly || (await parts.executions.deleteExecution(caller, record.id))) break;
        // Somebody holds the row right now: a twin of this call, or a retry that opens the execution again.
        if (attempt >= deleteAttemptsMax) throw new AppError("STORAGE_UNAVAILABLE", "the execution is being changed; try again", { retryAfterMs: 200 });
        await parts.clock.sleep(deletePauseMs);
      }
      parts.log.info({ executionId: request.executionId, actor: caller.actor, validateOnly: request.validateOnly }, "an execution was deleted");
      return create(DeleteExecutionResponseSchema);
    },

    async countExecutions(request, context) {
      const caller = callerOf(context);
      const filter = executionFilterOf(request.filter);
      const by = request.groupBy.map(countByOf);
      const [totalCount, groups] = await Promise.all([
        parts.executions.countExecutions(caller, filter),
        by.length === 0 ? [] : parts.executions.countGroups(caller, filter, by, groupsMax),
      ]);
      return create(CountExecutionsResponseSchema, {
        totalCount: BigInt(totalCount),
        groups: groups.map(({ values, count }) => ({
          values: Object.fromEntries(request.groupBy.map((field, index) => [field, shownValue(field, values[index] ?? "")])),
          count: BigInt(count),
        })),
      });
    },
  };
}

const deleteAttemptsMax = 100;
const deletePauseMs = 50;

/** An execution above it that is open may still have to undo it. */
async function refuseOpenParents(parts: RpcParts, caller: Caller, parentExecutionId: string | undefined): Promise<void> {
  for (let id = parentExecutionId, depth = 0; id !== undefined && depth <= limits.childDepthMax; depth++) {
    const parent = await parts.executions.getExecution(caller, id);
    if (!parent) return;
    if (parent.endedAt === undefined) {
      const metadata = { executionId: parent.id, state: parent.state.toUpperCase() };
      throw new AppError("EXECUTION_NOT_TERMINAL", `its parent ${parent.id} is ${metadata.state} and may still have to undo it`, { metadata });
    }
    id = parent.parentExecutionId;
  }
}

function notTerminal(executionId: string, state: string): AppError {
  const metadata = { executionId, state: state.toUpperCase() };
  return new AppError("EXECUTION_NOT_TERMINAL", `the execution is ${metadata.state}; cancel or terminate it first`, { metadata });
}

/** What is needed of another revision travels with the command; the input is checked against the schema it will meet. */
async function retryCommand(parts: RpcParts, caller: Caller, request: RetryExecutionRequest): Promise<ControlCommand> {
  const record = await parts.executions.getExecution(caller, request.executionId);
  if (!record) throw executionNotFound(request.executionId);
  const { reason, steps, input } = request;
  const command = { kind: "retry" as const, actor: caller.actor, reason, steps: [...steps], ...(input === undefined ? {} : { input }) };
  if (record.workflowId === undefined || (request.revision === 0 && input === undefined)) return command;
  const revision = await parts.definitions.get(caller.tenantId, record.workflowId, request.revision === 0 ? record.revision : request.revision);
  checkInput(revision, input ?? (record.input as NonNullable<typeof input>) ?? {});
  return revision.revision === record.revision ? command : { ...command, outline: outlineOf(revision) };
}

async function rerunRequest(parts: RpcParts, caller: Caller, request: RerunExecutionRequest): Promise<StartRequest> {
  const record = await parts.executions.getExecution(caller, request.executionId);
  if (!record) throw executionNotFound(request.executionId);
  if (record.endedAt === undefined) throw notTerminal(record.id, record.state);
  if (record.workflowId === undefined) throw new AppError("FEATURE_DISABLED", "a standalone saga cannot be rerun; start it anew");
  return {
    workflow: record.workflowId,
    revision: request.revision === 0 ? record.revision : request.revision,
    input: request.input ?? (record.input as StartRequest["input"] | undefined) ?? {},
    executionKey: request.executionKey || undefined,
    conflictPolicy: "fail",
    correlationId: request.correlationId || record.correlationId,
    labels: record.labels,
    priority: record.priority,
    startDelayMs: 0,
    // The ids of StartExecution are others: a request_id is kept per rpc.
    requestId: request.requestId === "" ? undefined : `rerun:${request.requestId}`,
    rerun: { source: await sourceOf(parts, caller, record.id), fromStep: request.fromStep, reason: request.reason },
  };
}

/** The ended execution with its whole ledger. */
async function sourceOf(parts: RpcParts, caller: Caller, executionId: string): Promise<RerunSource> {
  const state = emptyExecution({ executionId, tenantId: caller.tenantId });
  const events: ExecutionEvent[] = [];
  for (;;) {
    const page = await parts.executions.listEvents(caller, executionId, state.sequence, ledgerPageRows);
    for (const event of page.events) applyEvent(state, event);
    events.push(...page.events);
    if (page.isLast) break;
  }
  if (!state.info) throw executionNotFound(executionId);
  if (!isTerminal(state.status)) throw notTerminal(executionId, state.status);
  const { definition } = await parts.definitions.of(state);
  return { state, events, definition };
}

function countByOf(field: string, index: number): CountBy {
  if (field.startsWith("labels.") && field.length > "labels.".length) return { label: field.slice("labels.".length) };
  if ((countFields as readonly string[]).includes(field)) return { field: field as CountField };
  const description = `${field} is not a field to count by; use ${countFields.join(", ")} or labels.<key>`;
  throw violationsError([{ field: `group_by[${index}]`, reason: "VALIDATION_FAILED", description }]);
}

/** States as the contract writes them. */
function shownValue(field: string, value: string): string {
  return field === "state" || field === "saga_state" || field === "end_reason" ? value.toUpperCase() : value;
}

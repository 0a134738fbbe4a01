/** WorkflowService: reading executions, their steps and events, and the commands that end them. */
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ExecutionStep } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import {
  CancelExecutionResponseSchema,
  CompensationChoice,
  GetExecutionResponseSchema,
  GetExecutionStepResponseSchema,
  ListExecutionEventsResponseSchema,
  ListExecutionStepsResponseSchema,
  ListExecutionsResponseSchema,
  TerminateExecutionResponseSchema,
  WaitExecutionResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { readExecution } from "../engine/read-execution.ts";
import { waitForEnd } from "../engine/watch.ts";
import { callerOf } from "./interceptors/call.ts";
import { refuseNotYet } from "./not-yet.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { executionNotFound, readExecutionMessage, resolveExecutionId } from "./read-execution-message.ts";
import { watchOptionsOf } from "./watch-rpcs.ts";
import { eventToMessage } from "./wire/event.ts";
import { executionToMessage } from "./wire/execution.ts";
import { executionFilterOf } from "./wire/list-filters.ts";
import { stepsFromState } from "./wire/step.ts";

type ExecutionRpcs = Pick<
  ServiceImpl<typeof WorkflowService>,
  | "getExecution"
  | "waitExecution"
  | "listExecutions"
  | "listExecutionSteps"
  | "getExecutionStep"
  | "listExecutionEvents"
  | "cancelExecution"
  | "terminateExecution"
>;

const waitMsDefault = 30_000;

export function executionRpcs(parts: RpcParts): ExecutionRpcs {
  return {
    async getExecution(request, context) {
      const execution = await readExecutionMessage(parts, callerOf(context), request.executionId, request.view !== View.BASIC);
      return create(GetExecutionResponseSchema, { execution });
    },

    async waitExecution(request, context) {
      const caller = callerOf(context);
      const executionId = await resolveExecutionId(parts, caller, request.executionId);
      const timeoutMs = Math.min(request.timeout ? durationMs(request.timeout) : waitMsDefault, limits.waitMsMax);
      const ended = await waitForEnd(watchOptionsOf(parts), caller, executionId, timeoutMs, context.signal);
      return create(WaitExecutionResponseSchema, { execution: await readExecutionMessage(parts, caller, executionId, request.view !== View.BASIC), ended });
    },

    async listExecutions(request, context) {
      refuseNotYet({ order_by: request.orderBy !== "", include_total_size: request.includeTotalSize, "view FULL": request.view === View.FULL });
      const caller = callerOf(context);
      const filter = executionFilterOf(request.filter);
      const { pageSize, pageToken } = request;
      const wish = { pageSize, pageToken, shape: [request.filter] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListExecutions", wish, (page) =>
        parts.executions.listExecutions(caller, { ...page, filter }),
      );
      return create(ListExecutionsResponseSchema, { executions: items.map((item) => executionToMessage(item, "basic")), nextPageToken });
    },

    async listExecutionSteps(request, context) {
      refuseNotYet({ filter: request.filter !== "", include_total_size: request.includeTotalSize });
      const caller = callerOf(context);
      const steps = await readSteps(parts, caller, request.executionId);
      const { items, nextPageToken } = await listPage(
        parts,
        caller,
        "ListExecutionSteps",
        { ...request, shape: [request.executionId] },
        async ({ pageSize, afterId }) => {
          const from = afterId === undefined ? 0 : steps.findIndex((step) => step.path === afterId) + 1;
          const page = steps.slice(from, from + pageSize);
          return { items: page, nextAfterId: from + pageSize < steps.length ? page.at(-1)?.path : undefined };
        },
      );
      return create(ListExecutionStepsResponseSchema, {
        steps: items.map((step) => (request.view === View.BASIC ? withoutPayloads(step) : step)),
        nextPageToken,
      });
    },

    async getExecutionStep(request, context) {
      const step = (await readSteps(parts, callerOf(context), request.executionId)).find((candidate) => candidate.path === request.path);
      if (!step) throw new AppError("STEP_NOT_FOUND", `execution ${request.executionId} has no step ${request.path}, or it has not begun`);
      return create(GetExecutionStepResponseSchema, { step });
    },

    async listExecutionEvents(request, context) {
      const caller = callerOf(context);
      const executionId = await resolveExecutionId(parts, caller, request.executionId);
      const wanted = new Set(request.eventTypes);
      const lastSequence = await parts.executions.lastSequence(caller, executionId);
      if (lastSequence === undefined) throw executionNotFound(request.executionId);
      const { pageSize, pageToken, afterSequence, eventTypes } = request;
      const wish = { pageSize, pageToken, shape: [executionId, String(afterSequence), ...eventTypes] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListExecutionEvents", wish, async ({ pageSize, afterId }) => {
        const events = await parts.executions.listEvents(caller, executionId, Number(afterId ?? request.afterSequence), pageSize);
        const last = events.at(-1)?.sequence ?? lastSequence;
        return { items: events, nextAfterId: last < lastSequence ? String(last) : undefined };
      });
      const events = items.filter((event) => wanted.size === 0 || wanted.has(event.type));
      return create(ListExecutionEventsResponseSchema, {
        events: events.map((event) => eventToMessage(executionId, event)),
        nextPageToken,
        lastSequence: BigInt(lastSequence),
      });
    },

    async cancelExecution(request, context) {
      refuseNotYet({ request_id: request.requestId !== "", validate_only: request.validateOnly, grace_period: request.gracePeriod !== undefined });
      const caller = callerOf(context);
      const executionId = await existingId(parts, caller, request.executionId);
      const choice =
        request.compensate === CompensationChoice.NO ? { compensate: false } : request.compensate === CompensationChoice.YES ? { compensate: true } : {};
      await parts.engine.control(caller, executionId, { kind: "cancel", actor: caller.actor, reason: request.reason, ...choice });
      return create(CancelExecutionResponseSchema, { execution: await readExecutionMessage(parts, caller, executionId, true) });
    },

    async terminateExecution(request, context) {
      refuseNotYet({ request_id: request.requestId !== "", validate_only: request.validateOnly });
      const caller = callerOf(context);
      const executionId = await existingId(parts, caller, request.executionId);
      await parts.engine.control(caller, executionId, { kind: "terminate", actor: caller.actor, reason: request.reason });
      return create(TerminateExecutionResponseSchema, { execution: await readExecutionMessage(parts, caller, executionId, true) });
    },
  };
}

/** An open execution's id; a terminal one is refused here, because nobody drives it any more. */
async function existingId(parts: RpcParts, caller: Caller, reference: string): Promise<string> {
  const record = await parts.executions.getExecution(caller, reference);
  if (!record) throw executionNotFound(reference);
  if (record.endedAt !== undefined) {
    throw new AppError("EXECUTION_TERMINAL", `the execution has ended: ${record.state.toUpperCase()}`, {
      metadata: { executionId: record.id, state: record.state.toUpperCase() },
    });
  }
  return record.id;
}

async function readSteps(parts: RpcParts, caller: Caller, reference: string): Promise<readonly ExecutionStep[]> {
  const executionId = await resolveExecutionId(parts, caller, reference);
  const state = await readExecution((...page) => parts.executions.listEvents(...page), caller, executionId);
  if (!state?.info) throw executionNotFound(reference);
  const { definition } = await parts.definitions.get(caller.tenantId, state.info.workflowId, state.info.revision);
  return stepsFromState(state, definition);
}

function withoutPayloads(step: ExecutionStep): ExecutionStep {
  const { input: _input, result: _result, ...rest } = step;
  return rest;
}

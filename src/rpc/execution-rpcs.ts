/** WorkflowService: reading executions, their steps and events. */
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionSchema, type ExecutionStep, ExecutionStepSchema, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import {
  GetExecutionResponseSchema,
  GetExecutionStepResponseSchema,
  ListExecutionEventsResponseSchema,
  ListExecutionStepsResponseSchema,
  ListExecutionsResponseSchema,
  WaitExecutionResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { attemptsOf } from "../domain/attempts.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import { type ListEvents, readExecution } from "../engine/read-execution.ts";
import { positionText } from "../store/execution-repository.ts";
import { executionOrders } from "../store/sql/list-executions.ts";
import { inTurns, wholeItemsMax } from "./in-turns.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { executionNotFound, readExecutionMessage, resolveExecutionId, wholeExecution } from "./read-execution-message.ts";
import { showTaken } from "./taken-steps.ts";
import { waitInCall } from "./wait-for-end.ts";
import { eventToMessage } from "./wire/event.ts";
import { executionToMessage } from "./wire/execution.ts";
import { countFitting, fitEvent, withoutPayloads } from "./wire/fit.ts";
import { executionFilterOf, stepFilterOf } from "./wire/list-filters.ts";
import { orderByOf } from "./wire/order-by.ts";
import { attemptToMessage, stepsFromState } from "./wire/step.ts";

type ExecutionRpcs = Pick<
  ServiceImpl<typeof WorkflowService>,
  "getExecution" | "waitExecution" | "listExecutions" | "listExecutionSteps" | "getExecutionStep" | "listExecutionEvents"
>;

const waitMsDefault = 30_000;
/** Attempts of one step that are shown, the newest. */
const attemptsMax = 1_000;

export function executionRpcs(parts: RpcParts): ExecutionRpcs {
  return {
    async getExecution(request, context) {
      const execution = await readExecutionMessage(parts, callerOf(context), request.executionId, request.view !== View.BASIC, request.allowLarge);
      return create(GetExecutionResponseSchema, { execution });
    },

    async waitExecution(request, context) {
      const caller = callerOf(context);
      const executionId = await resolveExecutionId(parts, caller, request.executionId);
      const timeoutMs = Math.min(request.timeout ? durationMs(request.timeout) : waitMsDefault, limits.waitMsMax);
      const ended = await waitInCall(parts, context, executionId, timeoutMs);
      return create(WaitExecutionResponseSchema, { execution: await readExecutionMessage(parts, caller, executionId, request.view !== View.BASIC), ended });
    },

    async listExecutions(request, context) {
      const order = orderByOf(request.orderBy, executionOrders, { field: "create_time", descending: true });
      const caller = callerOf(context);
      const filter = executionFilterOf(request.filter);
      const { pageSize, pageToken } = request;
      const wish = { pageSize, pageToken, shape: [request.filter, order.field, order.descending] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListExecutions", wish, async (page) => {
        const isWhole = request.view === View.FULL;
        const pageSize = isWhole ? Math.min(page.pageSize, wholeItemsMax) : page.pageSize;
        const found = await parts.executions.listExecutions(caller, { ...page, pageSize, filter, order });
        if (!isWhole) return { ...found, items: found.items.map((item) => executionToMessage(item, "basic")) };
        const whole = await inTurns(found.items, (item) => wholeExecution(parts, caller, item));
        const fitting = countFitting(ExecutionSchema, whole);
        const last = found.items[fitting - 1];
        return { items: whole.slice(0, fitting), nextAfterId: fitting < whole.length && last ? positionText(order, last) : found.nextAfterId };
      });
      const total = request.includeTotalSize ? { totalSize: BigInt(await parts.executions.countExecutions(caller, filter)) } : {};
      return create(ListExecutionsResponseSchema, { executions: [...items], nextPageToken, ...total });
    },

    async listExecutionSteps(request, context) {
      const caller = callerOf(context);
      const isWanted = stepFilterOf(request.filter);
      const begun = await readSteps(parts, caller, request.executionId);
      const { items, nextPageToken } = await listPage(
        parts,
        caller,
        "ListExecutionSteps",
        { ...request, shape: [request.executionId, request.filter] },
        async ({ pageSize, afterId }) => {
          // Found among all: the last one of the page before may have changed since, so that it is wanted no more.
          const from = afterId === undefined ? 0 : begun.findIndex((step) => step.path === afterId) + 1;
          const left = begun.slice(from).filter(isWanted);
          const shown = left.slice(0, pageSize).map((step) => (request.view === View.BASIC ? withoutPayloads(step) : step));
          const page = shown.slice(0, countFitting(ExecutionStepSchema, shown));
          return { items: page, nextAfterId: page.length < left.length ? page.at(-1)?.path : undefined };
        },
      );
      return create(ListExecutionStepsResponseSchema, {
        steps: [...items],
        nextPageToken,
        ...(request.includeTotalSize ? { totalSize: BigInt(begun.filter(isWanted).length) } : {}),
      });
    },

    async getExecutionStep(request, context) {
      const own: ExecutionEvent[] = [];
      const steps = await readSteps(parts, callerOf(context), request.executionId, (event) => {
        if (event.stepPath === request.path) own.push(event);
      });
      const step = steps.find((candidate) => candidate.path === request.path);
      if (!step) throw new AppError("STEP_NOT_FOUND", `execution ${request.executionId} has no step ${request.path}, or it has not begun`);
      return create(GetExecutionStepResponseSchema, { step, attempts: attemptsOf(own, attemptsMax).map(attemptToMessage) });
    },

    async listExecutionEvents(request, context) {
      const caller = callerOf(context);
      const executionId = await resolveExecutionId(parts, caller, request.executionId);
      const wanted = new Set(request.eventTypes);
      const head = await parts.executions.ledgerHead(caller, executionId);
      if (head === undefined) throw executionNotFound(request.executionId);
      const { lastSequence, correlationId } = head;
      const { pageSize, pageToken, afterSequence, eventTypes } = request;
      const wish = { pageSize, pageToken, shape: [executionId, String(afterSequence), ...eventTypes] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListExecutionEvents", wish, async ({ pageSize, afterId }) => {
        const read = await parts.executions.listEvents(caller, executionId, Number(afterId ?? request.afterSequence), pageSize);
        const messages = read.events.map((event) => fitEvent(eventToMessage({ executionId, correlationId }, event)));
        const events = messages.slice(0, countFitting(ExecutionEventSchema, messages));
        const last = Number(events.at(-1)?.sequence ?? lastSequence);
        return { items: events, nextAfterId: last < lastSequence ? String(last) : undefined };
      });
      return create(ListExecutionEventsResponseSchema, {
        events: items.filter((event) => wanted.size === 0 || wanted.has(event.type)),
        nextPageToken,
        lastSequence: BigInt(lastSequence),
      });
    },
  };
}

/** `look` sees every event on the way. */
async function readSteps(parts: RpcParts, caller: Caller, reference: string, look?: (event: ExecutionEvent) => void): Promise<readonly ExecutionStep[]> {
  const executionId = await resolveExecutionId(parts, caller, reference);
  const listEvents: ListEvents = async (...page) => {
    const read = await parts.executions.listEvents(...page);
    if (look) read.events.forEach(look);
    return read;
  };
  const state = await readExecution(listEvents, caller, executionId);
  if (!state?.info) throw executionNotFound(reference);
  const { definition } = await parts.definitions.of(state);
  // Steps that did not begin are the definition's business: some of them stand in branches that are never taken.
  const steps = stepsFromState(state, definition).filter((step) => step.state !== StepState.PENDING);
  await showTaken(parts, caller, executionId, steps);
  return steps;
}

/** SagaCoordinationService: reading and following sagas. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { WatchHeartbeatSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import {
  GetSagaResponseSchema,
  ListSagasResponseSchema,
  type SagaCoordinationService,
  SagasSnapshotSchema,
  type WatchSagaResponse,
  WatchSagaResponseSchema,
  type WatchSagasResponse,
  WatchSagasResponseSchema,
} from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import type { Saga } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import { SagaSchema } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { checkFollowed } from "../engine/match-execution.ts";
import { type WatchItem, watchExecution } from "../engine/watch.ts";
import { type ManyItem, watchMany } from "../engine/watch-many.ts";
import { positionText } from "../store/execution-repository.ts";
import type { ExecutionRecord } from "../store/execution-row.ts";
import { inTurns, wholeItemsMax } from "./in-turns.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { resolveSagaId, sagaMessage } from "./saga-parts.ts";
import { definitionOf, eventMessage, resumeTokens } from "./watch-rpcs.ts";
import { countFitting, fitSteps } from "./wire/fit.ts";
import { sagaFilterOf } from "./wire/list-filters.ts";
import { orderByOf } from "./wire/order-by.ts";
import { sagaSnapshotFromState, sagaToMessage } from "./wire/saga.ts";

type SagaReadRpcs = Pick<ServiceImpl<typeof SagaCoordinationService>, "getSaga" | "listSagas" | "watchSaga" | "watchSagas">;

const newestFirst = { field: "create_time", descending: true } as const;

export function sagaReadRpcs(parts: RpcParts): SagaReadRpcs {
  return {
    async getSaga(request, context) {
      const caller = callerOf(context);
      const sagaId = await resolveSagaId(parts, caller, request.sagaId);
      return create(GetSagaResponseSchema, { saga: await sagaMessage(parts, caller, sagaId, request.view === View.BASIC ? "basic" : "full") });
    },

    async listSagas(request, context) {
      const order = orderByOf(request.orderBy, ["create_time", "end_time", "expire_time"], newestFirst);
      const caller = callerOf(context);
      const filter = sagaFilterOf(request.filter);
      const { pageSize, pageToken, view } = request;
      const wish = { pageSize, pageToken, shape: [request.filter, view, order.field, order.descending] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListSagas", wish, async (page) => {
        const pageSize = view === View.FULL ? Math.min(page.pageSize, wholeItemsMax) : page.pageSize;
        const read = await parts.executions.listExecutions(caller, { ...page, pageSize, filter, order });
        const sagas = view === View.FULL ? await inTurns(read.items, (record) => wholeSaga(parts, caller, record)) : read.items.map(sagaOfRecord);
        const fitting = sagas.slice(0, countFitting(SagaSchema, sagas));
        return {
          items: fitting,
          nextAfterId: fitting.length < sagas.length ? positionText(order, read.items[fitting.length - 1] as ExecutionRecord) : read.nextAfterId,
        };
      });
      const total = request.includeTotalSize ? { totalSize: BigInt(await parts.executions.countExecutions(caller, filter)) } : {};
      return create(ListSagasResponseSchema, { sagas: [...items], nextPageToken, ...total });
    },

    async *watchSaga(request, context) {
      const caller = callerOf(context);
      const executionId = await resolveSagaId(parts, caller, request.sagaId);
      const afterSequence = request.afterSequence === undefined ? undefined : Number(request.afterSequence);
      const wish = { executionId, afterSequence, eventTypes: new Set(request.eventTypes), signal: context.signal };
      for await (const item of watchExecution(parts.progress, caller, wish)) {
        yield create(WatchSagaResponseSchema, { item: await watchedItem(parts, executionId, item) });
      }
      // A signal that ended the watch has a reason the caller must see (drain, deadline).
      context.signal.throwIfAborted();
    },

    async *watchSagas(request, context) {
      const caller = callerOf(context);
      const filter = sagaFilterOf(request.filter);
      checkFollowed(filter);
      const tokens = resumeTokens(parts, caller, request.filter, "SagaCoordinationService/WatchSagas");
      const wish = { filter, resumeAt: tokens.read(request.resumeToken), eventTypes: new Set(request.eventTypes), signal: context.signal };
      for await (const item of watchMany(parts.tenantFeeds, caller, wish)) {
        yield create(WatchSagasResponseSchema, { item: manyItem(parts, item), resumeToken: tokens.write(item.resumeAt) });
      }
      context.signal.throwIfAborted();
    },
  };
}

/** An item of a list with its steps; as the list has it when it was deleted meanwhile. */
async function wholeSaga(parts: RpcParts, caller: Caller, record: ExecutionRecord): Promise<Saga> {
  return await sagaMessage(parts, caller, record.id).catch((error: unknown) => {
    if (error instanceof AppError && error.reason === "SAGA_NOT_FOUND") return sagaOfRecord(record);
    throw error;
  });
}

function sagaOfRecord(record: ExecutionRecord): Saga {
  return sagaToMessage(record, { openSteps: record.openSteps ?? 0, expiresAt: record.expiresAt });
}

async function watchedItem(parts: RpcParts, executionId: string, item: WatchItem): Promise<WatchSagaResponse["item"]> {
  switch (item.kind) {
    case "snapshot": {
      const value = sagaSnapshotFromState(item.state, await definitionOf(parts, item.state));
      if (value.saga) value.saga.steps = fitSteps(value.saga.steps);
      return { case: "snapshot", value };
    }
    case "event":
      return { case: "event", value: eventMessage({ executionId, correlationId: item.correlationId }, item.event) };
    case "heartbeat":
      return { case: "heartbeat", value: create(WatchHeartbeatSchema, { lastSequence: BigInt(item.lastSequence), time: timestampFromMs(parts.clock.now()) }) };
    default:
      return item satisfies never;
  }
}

function manyItem(parts: RpcParts, item: ManyItem): WatchSagasResponse["item"] {
  switch (item.kind) {
    case "snapshot":
      return { case: "snapshot", value: create(SagasSnapshotSchema, { sagas: item.executions.map(sagaOfRecord), complete: item.complete }) };
    case "event":
      return { case: "event", value: eventMessage(item, item.event) };
    case "heartbeat":
      return { case: "heartbeat", value: create(WatchHeartbeatSchema, { time: timestampFromMs(parts.clock.now()) }) };
    default:
      return item satisfies never;
  }
}

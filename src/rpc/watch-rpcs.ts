/** WorkflowService.WatchExecution and WatchExecutions, and what the other streams share with them. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { type ExecutionEvent as ExecutionEventMessage, WatchHeartbeatSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import type { ExecutionSnapshot } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import {
  ExecutionsSnapshotSchema,
  type WatchExecutionResponse,
  WatchExecutionResponseSchema,
  type WatchExecutionsResponse,
  WatchExecutionsResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, violationsError } from "../base/errors.ts";
import type { Definition } from "../domain/definition.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { checkFollowed } from "../engine/match-execution.ts";
import { watchExecution } from "../engine/watch.ts";
import { type ManyItem, watchMany } from "../engine/watch-many.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { resolveExecutionId } from "./read-execution-message.ts";
import { type EventOwner, eventToMessage } from "./wire/event.ts";
import { executionToMessage, snapshotFromState } from "./wire/execution.ts";
import { fitEvent } from "./wire/fit.ts";
import { executionFilterOf } from "./wire/list-filters.ts";
import { decodePageToken, encodePageToken, listingHash, type PageTokenScope } from "./wire/page-token.ts";

export interface WatchWish {
  /** Id or `key:<execution_key>`. */
  readonly executionId: string;
  readonly afterSequence: number | undefined;
  /** Empty sends all. */
  readonly eventTypes: readonly string[];
}

export type WatchItemMessage = WatchExecutionResponse["item"];

export function watchRpcs(parts: RpcParts): Pick<ServiceImpl<typeof WorkflowService>, "watchExecution" | "watchExecutions"> {
  return {
    async *watchExecution(request, context) {
      const wish = {
        executionId: request.executionId,
        afterSequence: request.afterSequence === undefined ? undefined : Number(request.afterSequence),
        eventTypes: request.eventTypes,
      };
      for await (const item of watchItems(parts, callerOf(context), wish, context)) yield create(WatchExecutionResponseSchema, { item });
    },

    async *watchExecutions(request, context) {
      const caller = callerOf(context);
      const filter = executionFilterOf(request.filter);
      checkFollowed(filter);
      const tokens = resumeTokens(parts, caller, request.filter);
      const wish = { filter, resumeAt: tokens.read(request.resumeToken), eventTypes: new Set(request.eventTypes), signal: context.signal };
      for await (const item of watchMany(parts.tenantFeeds, caller, wish)) {
        yield create(WatchExecutionsResponseSchema, { item: manyItem(parts, item), resumeToken: tokens.write(item.resumeAt) });
      }
      context.signal.throwIfAborted();
    },
  };
}

export async function definitionOf(parts: RpcParts, state: ExecutionState): Promise<Definition | undefined> {
  return state.info && (await parts.definitions.of(state)).definition;
}

/** The items of a watch as messages. The terminal event passes every filter: a stream must say that it is over. */
export async function* watchItems(parts: RpcParts, caller: Caller, wish: WatchWish, context: HandlerContext): AsyncGenerator<WatchItemMessage> {
  const executionId = await resolveExecutionId(parts, caller, wish.executionId);
  const request = { executionId, afterSequence: wish.afterSequence, eventTypes: new Set(wish.eventTypes), signal: context.signal };
  for await (const item of watchExecution(parts.progress, caller, request)) {
    switch (item.kind) {
      case "snapshot":
        yield { case: "snapshot", value: await snapshotMessage(parts, item.state) };
        break;
      case "event":
        yield { case: "event", value: eventMessage({ executionId, correlationId: item.correlationId }, item.event) };
        break;
      case "heartbeat":
        yield { case: "heartbeat", value: create(WatchHeartbeatSchema, { lastSequence: BigInt(item.lastSequence), time: timestampFromMs(parts.clock.now()) }) };
        break;
      default:
        item satisfies never;
    }
  }
  // A signal that ended the watch has a reason the caller must see (drain, deadline).
  context.signal.throwIfAborted();
}

/** Watchers of one execution are handed the same state and event objects, so each message is made once for all of them. */
const snapshotMessages = new WeakMap<ExecutionState, Promise<ExecutionSnapshot>>();
const eventMessages = new WeakMap<ExecutionEvent, ExecutionEventMessage>();

function snapshotMessage(parts: RpcParts, state: ExecutionState): Promise<ExecutionSnapshot> {
  let message = snapshotMessages.get(state);
  if (!message) {
    message = definitionOf(parts, state).then((definition) => snapshotFromState(state, definition));
    snapshotMessages.set(state, message);
  }
  return message;
}

export function eventMessage(owner: EventOwner, event: ExecutionEvent): ExecutionEventMessage {
  let message = eventMessages.get(event);
  if (!message) {
    message = fitEvent(eventToMessage(owner, event));
    eventMessages.set(event, message);
  }
  return message;
}

function manyItem(parts: RpcParts, item: ManyItem): WatchExecutionsResponse["item"] {
  switch (item.kind) {
    case "snapshot": {
      const executions = item.executions.map((execution) => executionToMessage(execution, "basic"));
      return { case: "snapshot", value: create(ExecutionsSnapshotSchema, { executions, complete: item.complete }) };
    }
    case "event":
      return { case: "event", value: eventMessage(item, item.event) };
    case "heartbeat":
      return { case: "heartbeat", value: create(WatchHeartbeatSchema, { time: timestampFromMs(parts.clock.now()) }) };
    default:
      return item satisfies never;
  }
}

/** Resume tokens of one stream: sealed moments, bound to tenant and filter as page tokens are. */
export function resumeTokens(parts: RpcParts, { tenantId }: Caller, filter: string, method = "WorkflowService/WatchExecutions") {
  const scope = { tenantId, method, filterHash: listingHash(filter) };
  let written: { readonly resumeAt: number; readonly token: string } | undefined;
  return {
    read(token: string): number | undefined {
      const position = readResumeToken(parts.pageTokenKey, token, scope);
      return position === undefined ? undefined : Number(position);
    },
    write(resumeAt: number | undefined): string {
      if (resumeAt === undefined) return "";
      if (written?.resumeAt !== resumeAt) written = { resumeAt, token: encodePageToken(parts.pageTokenKey, { ...scope, after: String(resumeAt) }) };
      return written.token;
    },
  };
}

/** The position in it; undefined for none. @throws AppError RESUME_TOKEN_INVALID */
export function readResumeToken(key: Uint8Array, token: string, scope: PageTokenScope): string | undefined {
  try {
    return decodePageToken(key, token, scope);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const description = "was not made by this service for this filter; begin again without it";
    throw violationsError([{ field: "resume_token", reason: "RESUME_TOKEN_INVALID", description }]);
  }
}

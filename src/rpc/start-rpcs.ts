/** WorkflowService: the three ways to start an execution. */
import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type Execution, ExecutionSchema, ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import {
  BatchStartExecutionsResponseSchema,
  type BatchStartResult,
  BatchStartResultSchema,
  ConflictPolicy,
  StartExecutionAndWatchResponseSchema,
  type StartExecutionRequest,
  StartExecutionResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, missingField } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isTerminal } from "../domain/states.ts";
import type { Started, StartRequest } from "../engine/start-execution.ts";
import { statusOf } from "./error-status.ts";
import { callerOf, safeId } from "./interceptors/call.ts";
import { idInHeader } from "./interceptors/changes.ts";
import type { RpcParts } from "./parts.ts";
import { readExecutionMessage } from "./read-execution-message.ts";
import { waitInCall } from "./wait-for-end.ts";
import { watchItems } from "./watch-rpcs.ts";
import { executionFromState } from "./wire/execution.ts";

type StartRpcs = Pick<ServiceImpl<typeof WorkflowService>, "startExecution" | "startExecutionAndWatch" | "batchStartExecutions">;

export function startRpcs(parts: RpcParts): StartRpcs {
  return {
    async startExecution(request, context) {
      const caller = callerOf(context);
      const wish = startRequestOf(request, context.requestHeader);
      if (request.validateOnly) return create(StartExecutionResponseSchema, { execution: await preview(parts, caller, wish) });
      const started = await parts.starter.start(caller, wish);
      if (started.replayed) context.responseHeader.set("idempotent-replayed", "true");
      const waitMs = request.wait ? Math.min(durationMs(request.wait), limits.waitMsMax) : 0;
      if (waitMs > 0) await waitInCall(parts, context, started.executionId, waitMs);
      return create(StartExecutionResponseSchema, { execution: await readStarted(parts, caller, started, waitMs > 0), existing: started.existing });
    },

    async *startExecutionAndWatch(request, context) {
      const caller = callerOf(context);
      if (!request.start) throw missingField("start");
      const { executionId, existing, replayed } = await parts.starter.start(caller, startRequestOf(request.start, context.requestHeader));
      if (replayed) context.responseHeader.set("idempotent-replayed", "true");
      // From the first event: nothing that happened before the stream was open is missed.
      const watch = { executionId, afterSequence: 0, eventTypes: request.eventTypes };
      for await (const item of watchItems(parts, caller, watch, context)) yield create(StartExecutionAndWatchResponseSchema, { item, existing });
    },

    async batchStartExecutions(request, context) {
      const caller = callerOf(context);
      const { validateOnly } = request;
      const batchId = request.requestId || idInHeader(context.requestHeader);
      const results = await Promise.all(request.requests.map((start, index) => startOne(parts, caller, withOwnId(start, batchId, index), validateOnly)));
      if (batchId !== undefined) refusePassing(results);
      return create(BatchStartExecutionsResponseSchema, { results });
    },
  };
}

/** What a start would make. Throws the reasons of StartExecution. */
async function preview(parts: RpcParts, caller: Caller, { labels, priority, input, ...wish }: StartRequest): Promise<Execution> {
  const { workflowId, workflowName, revision } = await parts.starter.check(caller, { labels, priority, input, ...wish });
  return create(ExecutionSchema, { workflowId, workflowName, revision, state: ExecutionState.PENDING, labels, priority, input });
}

/**
 * A start of a batch that is to be repeatable has an id of its own, made from that of the batch: a process that dies between the
 * starts and the batch's answer leaves nothing that a repeat would start again.
 */
function withOwnId(start: StartExecutionRequest, batchId: string | undefined, index: number): StartExecutionRequest {
  if (batchId === undefined || start.requestId !== "") return start;
  const requestId = createHash("sha256").update(`${batchId}\n${index}`).digest("base64url").slice(0, limits.requestIdCharactersMax);
  return { ...start, requestId };
}

/** The answer of a repeatable batch is kept, so what only passes must not be in it: the repeat finds what was started. */
function refusePassing(results: readonly BatchStartResult[]): void {
  const passing = results.find(({ result }) => result.case === "error" && passingCodes.has(result.value.code));
  if (passing?.result.case !== "error") return;
  throw new AppError("STORAGE_UNAVAILABLE", `not everything could be started: ${passing.result.value.message}; send the same batch again`, {
    retryAfterMs: 1_000,
  });
}

/** RESOURCE_EXHAUSTED, ABORTED and UNAVAILABLE of google.rpc.Code. */
const passingCodes: ReadonlySet<number> = new Set([8, 10, 14]);

/** One of a batch: its refusal is its own result and leaves the others alone. */
async function startOne(parts: RpcParts, caller: Caller, request: StartExecutionRequest, validateOnly: boolean): Promise<BatchStartResult> {
  try {
    if (validateOnly || request.validateOnly) {
      return create(BatchStartResultSchema, { result: { case: "execution", value: await preview(parts, caller, startRequestOf(request)) } });
    }
    const started = await parts.starter.start(caller, startRequestOf(request));
    const execution = await readStarted(parts, caller, started);
    return create(BatchStartResultSchema, { result: { case: "execution", value: execution }, existing: started.existing });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return create(BatchStartResultSchema, { result: { case: "error", value: statusOf(error) } });
  }
}

/** `waited`: for its end. */
async function readStarted(parts: RpcParts, caller: Caller, started: Started, waited = false): Promise<Execution> {
  // What was in memory at its start is no news of an execution that has left memory meanwhile.
  const state = waited && started.state && !isTerminal(started.state.status) ? undefined : started.state;
  return state ? executionFromState(state) : await readExecutionMessage(parts, caller, started.executionId, true);
}

/** The headers may name the request id where the message names none. */
function startRequestOf(request: StartExecutionRequest, headers?: Headers): StartRequest {
  return {
    workflow: request.workflow,
    revision: request.revision,
    input: request.input ?? {},
    executionKey: request.executionKey || undefined,
    conflictPolicy: conflictPolicies[request.conflictPolicy],
    correlationId: safeId(request.correlationId),
    labels: request.labels,
    priority: request.priority === 0 ? limits.priorityDefault : request.priority,
    startDelayMs: request.startDelay ? durationMs(request.startDelay) : 0,
    requestId: request.requestId || (headers && idInHeader(headers)),
  };
}

const conflictPolicies = {
  [ConflictPolicy.UNSPECIFIED]: "fail",
  [ConflictPolicy.FAIL]: "fail",
  [ConflictPolicy.RETURN_EXISTING]: "return_existing",
  [ConflictPolicy.TERMINATE_EXISTING]: "terminate_existing",
} as const;

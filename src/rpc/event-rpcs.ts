/** WorkflowService: events from outside, for one execution or for all that wait for them. */
import { create } from "@bufbuild/protobuf";
import { type Duration, durationMs, type Value } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { PublishEventResponseSchema, SignalExecutionResponseSchema, type WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { AppError } from "../base/errors.ts";
import type { SignalRequest } from "../engine/signals.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { executionNotFound } from "./read-execution-message.ts";
import { jsonFromValue } from "./wire/value.ts";

type EventRpcs = Pick<ServiceImpl<typeof WorkflowService>, "signalExecution" | "publishEvent">;

export function eventRpcs(parts: RpcParts): EventRpcs {
  return {
    async signalExecution(request, context) {
      const caller = callerOf(context);
      const record = await parts.executions.getExecution(caller, request.executionId);
      if (!record) throw executionNotFound(request.executionId);
      if (request.validateOnly && record.endedAt !== undefined) {
        const state = record.state.toUpperCase();
        throw new AppError("EXECUTION_TERMINAL", `the execution has ended: ${state}`, { metadata: { executionId: record.id, state } });
      }
      const endState = async (): Promise<string | undefined> => {
        const now = await parts.executions.getExecution(caller, record.id);
        if (!now) throw executionNotFound(request.executionId);
        return now.endedAt === undefined ? undefined : now.state.toUpperCase();
      };
      const { signalId, isDuplicate } = await parts.signals.send(caller, record.id, endState, signalOf(request));
      return create(SignalExecutionResponseSchema, { signalId, duplicate: isDuplicate });
    },

    async publishEvent(request, context) {
      const { signalId, isDuplicate, matched } = await parts.signals.publish(callerOf(context), request.correlationKey, signalOf(request));
      return create(PublishEventResponseSchema, { signalId, matchedExecutionCount: matched, duplicate: isDuplicate });
    },
  };
}

interface EventWish {
  readonly eventType: string;
  readonly data?: Value | undefined;
  readonly dedupId: string;
  readonly ttl?: Duration | undefined;
  readonly validateOnly: boolean;
}

function signalOf({ eventType, data, dedupId, ttl, validateOnly }: EventWish): SignalRequest {
  return { eventType, data: data === undefined ? null : jsonFromValue(data), dedupId, ttlMs: ttl && durationMs(ttl), validateOnly };
}

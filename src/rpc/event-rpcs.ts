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
        throw new AppError("EXECUTION_TERMINAL", `the execution has ended: ${record.state.toUpperCase()}`, { metadata: { executionId: record.id } });
      }
      const isOpen = async (): Promise<boolean> => (await parts.executions.getExecution(caller, record.id))?.endedAt === undefined;
      const { signalId, isDuplicate } = await parts.signals.send(caller, record.id, isOpen, signalOf(request));
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

/** One line of an execution's ledger as its readers see it. */
import { create } from "@bufbuild/protobuf";
import { type ExecutionEvent as ExecutionEventMessage, ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import type { ExecutionEvent } from "../../domain/events.ts";
import { eventPayload } from "./event-payload.ts";
import { timestampOf } from "./time.ts";

/** What an event belongs to. */
export interface EventOwner {
  readonly executionId: string;
  readonly correlationId: string;
}

export function eventToMessage({ executionId, correlationId }: EventOwner, event: ExecutionEvent): ExecutionEventMessage {
  return create(ExecutionEventSchema, {
    sequence: BigInt(event.sequence),
    executionId,
    time: timestampOf(event.at),
    type: event.type,
    stepPath: event.stepPath,
    attempt: event.attempt,
    correlationId,
    payload: eventPayload(event),
  });
}

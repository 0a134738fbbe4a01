/**
 * Keeps responses below what clients take (4 MiB a message): pages are cut by bytes, and where a whole is asked for, the
 * payloads that do not fit are left out; they can be read one by one.
 */
import { type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { type ExecutionStep, ExecutionStepSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { limits } from "../../base/limits.ts";

/** How many of `messages`, from the first on, fit into one page; at least one. */
export function countFitting<Desc extends DescMessage>(schema: Desc, messages: readonly Message[]): number {
  let bytes = 0;
  for (let count = 0; count < messages.length; count++) {
    bytes += toBinary(schema, messages[count] as never).length;
    if (bytes > limits.pageBytesMax && count > 0) return count;
  }
  return messages.length;
}

/** The steps with input and result as long as they fit; those after are sent without. */
export function fitSteps(steps: readonly ExecutionStep[]): ExecutionStep[] {
  let bytes = 0;
  return steps.map((step) => {
    const size = toBinary(ExecutionStepSchema, step).length;
    if (bytes + size <= limits.pageBytesMax) {
      bytes += size;
      return step;
    }
    return withoutPayloads(step);
  });
}

/** An event that alone is larger than a message may be goes without its result and input. */
export function fitEvent(event: ExecutionEvent): ExecutionEvent {
  const { payload } = event;
  if (payload.case !== "stepSucceeded" && payload.case !== "stepStarted" && payload.case !== "compensationStarted") return event;
  if (toBinary(ExecutionEventSchema, event).length <= limits.pageBytesMax) return event;
  const { input: _input, result: _result, exports: _exports, ...rest } = payload.value as typeof payload.value & { result?: unknown; exports?: unknown };
  return { ...event, payload: { case: payload.case, value: rest } as ExecutionEvent["payload"] };
}

/** A step as lists show it. */
export function withoutPayloads(step: ExecutionStep): ExecutionStep {
  const { input: _input, result: _result, ...rest } = step;
  return rest;
}

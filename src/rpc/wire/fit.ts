/**
 * Keeps responses below what clients take (4 MiB a message): pages are cut by bytes, and where a whole is asked for, the
 * payloads that do not fit are left out; they can be read one by one.
 */
import { create, type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { type Execution, ExecutionSchema, type ExecutionStep, ExecutionStepSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
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

/** The steps with input and result as long as they fit beside `usedBytes`; those after are sent without. */
export function fitSteps(steps: readonly ExecutionStep[], usedBytes = 0): ExecutionStep[] {
  let bytes = usedBytes;
  return steps.map((step) => {
    const size = toBinary(ExecutionStepSchema, step).length;
    if (bytes + size <= limits.pageBytesMax) {
      bytes += size;
      return step;
    }
    return withoutPayloads(step);
  });
}

/** Payloads of events that hold what callers, steps and participants said, as large as that may be. */
const largeCases: ReadonlySet<string | undefined> = new Set([
  "executionCreated",
  "executionEnded",
  "stepSucceeded",
  "stepStarted",
  "compensationStarted",
  "variablesSet",
]);

/** An event that alone is larger than a message may be goes without what makes it so, and says which fields those are. */
export function fitEvent(event: ExecutionEvent): ExecutionEvent {
  const { payload } = event;
  if (!largeCases.has(payload.case) || toBinary(ExecutionEventSchema, event).length <= limits.pageBytesMax) return event;
  const large = ["input", "output", "result", "exports", "variables"].filter((name) => name in (payload.value as object));
  const value = Object.fromEntries(Object.entries(payload.value as object).filter(([name]) => !large.includes(name)));
  return { ...event, omittedFields: large, payload: { case: payload.case, value } as unknown as ExecutionEvent["payload"] };
}

const payloadFields = ["input", "output", "variables"] as const;

/** An execution that is larger than a message may be goes without its largest payloads, and says which those are. */
export function fitExecution(execution: Execution): Execution {
  if (payloadFields.reduce((sum, field) => sum + bytesAtMost(execution[field]), 0) <= limits.pageBytesMax) return execution;
  let bytes = toBinary(ExecutionSchema, execution).length;
  const sized = payloadFields.map((field) => ({ field, bytes: toBinary(ExecutionSchema, create(ExecutionSchema, { [field]: execution[field] })).length }));
  const fitting = { ...execution, omittedFields: [] as string[] };
  for (const { field, bytes: less } of sized.toSorted((a, b) => b.bytes - a.bytes)) {
    if (bytes <= limits.pageBytesMax) break;
    bytes -= less;
    delete fitting[field];
    fitting.omittedFields.push(field);
  }
  return fitting;
}

/** Not less than what a JSON value, or a message that holds one, takes; looks at no more of it than it takes to be too much. */
function bytesAtMost(value: unknown, left: number = limits.pageBytesMax): number {
  // A number, the length of a member and its tags.
  let bytes = 16;
  if (typeof value === "string") return bytes + 3 * value.length;
  if (typeof value !== "object" || value === null) return bytes;
  for (const [name, member] of Object.entries(value)) {
    bytes += 3 * name.length + bytesAtMost(member, left - bytes);
    if (bytes > left) return bytes;
  }
  return bytes;
}

/** A step as lists show it. */
export function withoutPayloads(step: ExecutionStep): ExecutionStep {
  const { input: _input, result: _result, ...rest } = step;
  return rest;
}

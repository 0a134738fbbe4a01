/** Definitions in their JSON form, as a user writes them. */
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { type WorkflowDefinition, WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import type { Clients } from "./connect-client.ts";

/** Short pauses, so that a test of retries takes milliseconds. */
export const quickRetry = { initial_interval: "0.02s", maximum_interval: "0.1s", jitter: 0, maximum_attempts: 4 };

export function definition(steps: readonly JsonValue[], rest: JsonObject = {}): WorkflowDefinition {
  return fromJson(WorkflowDefinitionSchema, { dsl_version: "v1", default_retry_policy: quickRetry, ...rest, steps: [...steps] });
}

/** POST to `url`; with `undo` the step is compensatable. */
export function httpStep(
  name: string,
  url: string,
  more: { readonly undo?: string; readonly json?: JsonValue; readonly undoJson?: JsonValue } & JsonObject = {},
): JsonObject {
  const { undo, undoJson, json, ...rest } = more as JsonObject & { undo?: string };
  return {
    name,
    http_request: { method: "POST", url, json: json ?? { step: name } },
    ...(undo === undefined
      ? {}
      : {
          compensation: {
            retry_policy: { initial_interval: "0.02s" },
            step: { name: `undo_${name}`, http_request: { method: "POST", url: undo, json: undoJson ?? { undo: name, original: "{{original.result.body}}" } } },
          },
        }),
    ...rest,
  };
}

export function logStep(name: string, message = "hello"): JsonObject {
  return { name, log: { message } };
}

export function delayStep(name: string, duration: string): JsonObject {
  return { name, delay: { duration } };
}

let count = 0;

/** A name no other test has. Files share this count, in any order: of one width, so that names sort as they were made. */
export function newName(prefix = "wf"): string {
  return `${prefix}-${String(++count).padStart(5, "0")}`;
}

/** Stores a workflow and returns its name. */
export async function createWorkflow({ workflows }: Clients, steps: readonly JsonValue[], rest: JsonObject = {}): Promise<string> {
  const name = newName();
  await workflows.createWorkflow({ workflow: { name, definition: definition(steps, rest) } });
  return name;
}

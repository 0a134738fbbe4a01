/** Starts an execution and follows it to its end. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { Workflow } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { check } from "./checks.ts";
import type { Clients } from "./client.ts";
import type { Display } from "./display.ts";
import { applyToView, newRunView, type RunView } from "./run-view.ts";

export interface Run {
  readonly view: RunView;
  /** Types of all events in order, for example `step_started`. */
  readonly events: readonly { readonly type: string; readonly stepPath: string; readonly attempt: number }[];
}

/** `announce` is told the id before the first step is shown. */
export async function startAndWatch(
  clients: Clients,
  display: Display,
  workflow: Workflow,
  input: JsonObject,
  announce: (executionId: string) => void,
): Promise<Run> {
  check(workflow.definition !== undefined, "the workflow came with its definition");
  let view: RunView | undefined;
  let shown: ReturnType<Display["follow"]> | undefined;
  const events: { type: string; stepPath: string; attempt: number }[] = [];
  let sequence = 0n;
  try {
    for await (const { item } of clients.workflows.startExecutionAndWatch({ start: { workflow: workflow.id, input } })) {
      if (item.case === "snapshot") {
        check(item.value.execution !== undefined && item.value.sequence === 0n, "the watch begins before the first event");
        view = newRunView(item.value.execution.id, workflow.definition);
        announce(view.executionId);
        shown = display.follow(view);
      } else if (item.case === "event" && view && shown) {
        const event = item.value;
        check(event.sequence === ++sequence, `event ${event.sequence} of the watch is number ${sequence}`);
        applyToView(view, event);
        events.push({ type: event.type, stepPath: event.stepPath, attempt: event.attempt });
        shown.event(event);
      }
    }
  } finally {
    shown?.end();
  }
  check(view?.state !== undefined, "the watch ended with the end of the execution");
  return { view, events };
}

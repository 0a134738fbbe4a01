/** Part 1: an order is fulfilled by a workflow that is made from a prebuilt template. */
import type { Workflow } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { check, checkEqual } from "./checks.ts";
import type { DemoContext } from "./context.ts";
import { readOrder } from "./orders.ts";
import { describeMs } from "./step-lines.ts";
import { startAndWatch } from "./watch-run.ts";

const template = "multi-step-integration";
const sevenTypes = ["conditional", "data_transform", "delay", "file_process", "http_request", "log", "notification"];

export interface FulfilledOrder {
  readonly workflow: Workflow;
  readonly executionId: string;
}

export async function fulfilOrder({ clients, display, siblings, began }: DemoContext): Promise<FulfilledOrder> {
  const { workflow } = await clients.templates.createWorkflowFromTemplate({
    template,
    name: "order-fulfilment",
    parameters: {
      orders_url: siblings.url("orders"),
      payments_url: siblings.url("payments"),
      notify_url: `${siblings.url("webhook-sink")}/orders`,
      settle_delay: "1s",
    },
  });
  check(workflow !== undefined, "a workflow was made from the template");
  const run = await startAndWatch(clients, display, workflow, readOrder("A-1001"), (executionId) => {
    display.say(`1/3 ${workflow.name} (from ${template})   ${executionId}`);
    display.fact("part", { part: 1, workflow: workflow.name, template, execution_id: executionId });
  });
  const sinceStartMs = performance.now() - began;
  const { view } = run;
  checkEqual(view.state, "COMPLETED", "the order is fulfilled");
  const used = new Set([...view.steps.values()].filter((step) => step.status === "completed").map((step) => step.type));
  checkEqual([...used].sort(), sevenTypes, "all seven step types ran");
  const charge = view.steps.get("charge");
  checkEqual([charge?.attempt, charge?.causes], [2, ["HTTP.503"]], "the charge succeeded at the second attempt, after one 503");
  const effects = await siblings.effectsOf(view.executionId);
  checkEqual(
    effects.map((effect) => `${effect.step} ${effect.operation}`),
    ["reserve action", "charge action", "ship action", "notify action"],
    "each sibling acted once, in order",
  );
  display.say(
    `  ✓ ${used.size} step types, ${effects.length} effects in 3 siblings, ${run.events.length} events without a gap; finished ${describeMs(sinceStartMs)} after the demo began`,
  );
  display.fact("verified", {
    part: 1,
    step_types: [...used].sort(),
    effects: effects.length,
    events: run.events.length,
    correlation_id: view.correlationId,
    ms_since_demo_start: Math.round(sinceStartMs),
  });
  return { workflow, executionId: view.executionId };
}

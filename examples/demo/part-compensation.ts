/** Part 2: two orders that fail, at different places; what they did is taken back in reverse order. */
import type { Workflow } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { checkEqual } from "./checks.ts";
import type { DemoContext } from "./context.ts";
import { readOrder } from "./orders.ts";
import { startAndWatch } from "./watch-run.ts";

interface Failing {
  readonly orderId: string;
  readonly title: string;
  readonly failedStep: string;
  readonly cause: string;
  /** Steps that were done before, first one first. */
  readonly done: readonly string[];
}

const cases: readonly Failing[] = [
  { orderId: "A-1003", title: "payment declined → compensation", failedStep: "charge", cause: "HTTP.402", done: ["reserve"] },
  { orderId: "A-1004", title: "no courier → two compensations", failedStep: "ship", cause: "HTTP.422", done: ["reserve", "charge"] },
];

export async function compensateOrders(context: DemoContext, workflow: Workflow): Promise<void> {
  for (const failing of cases) await compensate(context, workflow, failing);
}

async function compensate({ clients, display, siblings }: DemoContext, workflow: Workflow, failing: Failing): Promise<void> {
  const run = await startAndWatch(clients, display, workflow, readOrder(failing.orderId), (executionId) => {
    display.say(`2/3 ${failing.title}   ${executionId}`);
    display.fact("part", { part: 2, title: failing.title, execution_id: executionId });
  });
  const { view } = run;
  const reverse = failing.done.toReversed();
  checkEqual(view.state, "COMPENSATED", "the execution ended compensated");
  const failed = view.steps.get(failing.failedStep);
  checkEqual([failed?.status, failed?.causes, failed?.attempt], ["failed", [failing.cause], 1], `${failing.failedStep} failed for good at its first attempt`);
  checkEqual(view.undone, reverse, "the ledger of events has the undos in reverse order");
  const effects = await siblings.effectsOf(view.executionId);
  const did = effects.map((effect) => `${effect.step} ${effect.operation}`);
  checkEqual(
    did,
    [...failing.done.map((step) => `${step} action`), ...reverse.map((step) => `${step} compensate`)],
    "the siblings' ledgers have the same order",
  );
  const { execution } = await clients.workflows.getExecution({ executionId: view.executionId });
  checkEqual(execution?.standingEffects, [], "no effect stands");
  display.say(
    `  ✓ undone in reverse: ${reverse.join(", ")}   same order in the events and in the siblings' ledgers   effects that stand: ${execution?.standingEffects.length}`,
  );
  display.fact("verified", { part: 2, undone: view.undone, effects: did, standing_effects: execution?.standingEffects });
}

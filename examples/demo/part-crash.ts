/**
 * Part 3: many executions, and the service is killed with SIGKILL while they start and run. What counts as proof is outside
 * the service: the orders API noted every effect with its idempotency key, execution and step.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { check, checkEqual } from "./checks.ts";
import { connect } from "./client.ts";
import type { DemoContext } from "./context.ts";
import { prove } from "./crash-proof.ts";
import { startMany } from "./crash-starts.ts";
import { count, describeMs } from "./step-lines.ts";

const pollMs = 20;
const listMs = 100;
const patienceMs = 60_000;
const stepsPerExecution = 4;
const effectsPerExecution = 3;

export async function surviveCrash(context: DemoContext, executions: number): Promise<void> {
  const { display, server, siblings } = context;
  display.say(`3/3 ${count(executions)} executions, SIGKILL half-way`);
  display.fact("part", { part: 3, executions });
  const before = (await siblings.ledger("orders", false)).effectCount;
  const effectsDue = executions * effectsPerExecution;
  const workflowId = await createWorkflow(context);
  const began = performance.now();
  const starts = startMany(context, workflowId, executions);

  await untilEffects(
    context,
    before + effectsDue / 2,
    (done) => `${count(starts.ids.length)} starts acknowledged, ${count(done - before)} of ${count(effectsDue)} effects`,
  );
  const killedPid = server.pid;
  await server.kill();
  const killedAt = performance.now();
  const atKill = (await siblings.ledger("orders", false)).effectCount;
  display.say(
    `  ⚡ SIGKILL of process ${killedPid}: ${count(starts.ids.length)} starts acknowledged, ${count(atKill - before)} of ${count(effectsDue)} effects done`,
  );
  await server.restart();
  const backMs = performance.now() - killedAt;
  context.clients = connect(server.url, server.apiKey);
  const open = await countOpen(context, workflowId);
  display.say(`  ↻ back in ${describeMs(backMs)} on the same data (PostgreSQL ${server.postgres}), ${count(open)} unfinished executions found`);

  await starts.done;
  checkEqual(starts.ids.length, executions, "every start was acknowledged");
  const totalMs = await untilEnded(context, workflowId, starts.ids, began);
  const proof = await prove(context, starts.ids, effectsPerExecution);
  const stepsPerSecond = Math.round((executions * stepsPerExecution) / (totalMs / 1000));
  display.say(
    `  ✓ lost ${proof.lost}   finished twice ${proof.finishedTwice}   effects ${count(proof.effects)} = ${count(executions)} × ${effectsPerExecution}, done twice ${proof.doneTwice}`,
  );
  const again = starts.repeated > 0 ? `${count(starts.repeated)} starts (${count(starts.existing)} had been accepted), ` : "";
  display.say(`  ✓ sent again after the crash: ${again}${count(proof.repeatedCalls)} calls (answered as the first time)`);
  display.say(`  ✓ ${count(executions)} executions of ${stepsPerExecution} steps in ${describeMs(totalMs)}, crash included: ${count(stepsPerSecond)} steps/s`);
  display.fact("verified", {
    part: 3,
    executions,
    killed_pid: killedPid,
    effects_at_kill: atKill - before,
    back_ms: Math.round(backMs),
    unfinished_at_restart: open,
    lost: proof.lost,
    finished_twice: proof.finishedTwice,
    effects: proof.effects,
    done_twice: proof.doneTwice,
    repeated_calls: proof.repeatedCalls,
    repeated_starts: starts.repeated,
    repeated_starts_accepted_before: starts.existing,
    total_ms: Math.round(totalMs),
    steps_per_second: stepsPerSecond,
  });
}

/** Three calls with a pause between them, so that the kill meets executions in every stage. */
async function createWorkflow({ clients, siblings }: DemoContext): Promise<string> {
  const post = (name: string, collection: string, idField: string): JsonObject => ({
    name,
    http_request: { method: "POST", url: `${siblings.url("orders")}/${collection}`, json: { [idField]: "{{execution_id}}" } },
    retry_policy: { initial_interval: "0.1s", maximum_attempts: 0 },
  });
  const definition: JsonObject = {
    steps: [
      post("reserve", "reservations", "reservation_id"),
      { name: "pause", delay: { duration: "1s" } },
      post("confirm", "confirmations", "confirmation_id"),
      post("ship", "shipments", "shipment_id"),
    ],
  };
  const { workflow } = await clients.workflows.createWorkflow({ workflow: { name: "crash-test", definition: fromJson(WorkflowDefinitionSchema, definition) } });
  check(workflow !== undefined, "the workflow was created");
  return workflow.id;
}

async function untilEffects({ siblings, display }: DemoContext, wanted: number, describe: (done: number) => string): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const { effectCount } = await siblings.ledger("orders", false);
    if (effectCount >= wanted) return;
    check(performance.now() < deadline, `the orders API saw ${effectCount} effects in ${patienceMs / 1000} s; ${wanted} are due`);
    display.progress(describe(effectCount));
    await sleep(pollMs);
  }
}

const isEnded = (state: ExecutionState | undefined): boolean => state !== undefined && state >= ExecutionState.COMPLETED;

async function listStates({ clients }: DemoContext, workflowId: string): Promise<Map<string, ExecutionState>> {
  const states = new Map<string, ExecutionState>();
  let pageToken = "";
  do {
    const page = await clients.workflows.listExecutions({ pageSize: 1_000, pageToken });
    for (const execution of page.executions) if (execution.workflowId === workflowId) states.set(execution.id, execution.state);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return states;
}

async function countOpen(context: DemoContext, workflowId: string): Promise<number> {
  return [...(await listStates(context, workflowId)).values()].filter((state) => !isEnded(state)).length;
}

/** Milliseconds since `began` when the last one was seen to have ended. */
async function untilEnded(context: DemoContext, workflowId: string, ids: readonly string[], began: number): Promise<number> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const states = await listStates(context, workflowId);
    const open = ids.filter((id) => !isEnded(states.get(id))).length;
    if (open === 0) return performance.now() - began;
    check(performance.now() < deadline, `${open} executions have not ended after ${patienceMs / 1000} s`);
    context.display.progress(`${count(ids.length - open)} of ${count(ids.length)} executions have ended`);
    await sleep(listMs);
  }
}

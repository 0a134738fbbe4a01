/** The TypeScript client and the service: what a program of a sibling does with it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { createWorkflowClient, isReason, type RunEvent, type WorkflowClient } from "../../sdk/typescript/client.ts";
import { createWorkflow, delayStep, httpStep, logStep, newName } from "../service/support/definitions.ts";
import { stepsOf, useServer } from "../service/support/fixture.ts";
import { startRelay } from "./relay.ts";

const service = useServer();
let wf: WorkflowClient;
beforeAll(() => {
  wf = createWorkflowClient({ url: service.server.url, apiKey: async () => service.server.apiKey });
});
afterAll(() => wf?.close());

async function all(events: AsyncIterable<RunEvent>): Promise<RunEvent[]> {
  const told: RunEvent[] = [];
  for await (const one of events) told.push(one);
  return told;
}

test("start, watch and result: every event once with the state after it, plain values in and out", async () => {
  const steps = [httpStep("call", `${service.ledger.url}/call`), delayStep("rest", "0.05s"), logStep("done")];
  const workflow = await createWorkflow(service.clients, steps, { outputs: { order: "{{trigger.data.order}}", at: "{{trigger.data.at}}" } });
  const before = Date.now();
  const run = await wf.start(workflow, { order: 42, at: { shelf: [1, null] } }, { labels: { team: "a" }, correlationId: "corr-1" });
  expect([run.existing, run.id.slice(0, 4)]).toEqual([false, "exe_"]);
  const told = await all(run.watch());
  expect(told.map(({ sequence }) => sequence)).toEqual(told.map((_, index) => index + 1));
  const states = Map.groupBy(told, (one) => (one.type === "step" ? one.step : one.type));
  const of = (name: string) => states.get(name)?.map(({ state }) => state);
  expect(of("call")).toEqual(["RUNNING", "COMPLETED"]);
  expect(of("rest")).toEqual(["WAITING", "COMPLETED"]);
  expect(of("done")).toEqual(["COMPLETED"]);
  expect([of("execution")?.[0], of("execution")?.at(-1)]).toEqual(["PENDING", "COMPLETED"]);
  expect(told[0]).toMatchObject({ event: "execution_created", data: { workflowName: workflow, input: { order: 42, at: { shelf: [1, null] } }, revision: 1 } });
  expect(told[0]?.time).toBeInstanceOf(Date);
  expect(await run.result()).toEqual({ order: 42, at: { shelf: [1, null] } });
  const status = await wf.run(run.id).status();
  expect(status).toMatchObject({
    state: "COMPLETED",
    endReason: "SUCCESS",
    workflow,
    revision: 1,
    labels: { team: "a" },
    correlationId: "corr-1",
    failure: undefined,
  });
  expect(status.createTime?.getTime()).toBeGreaterThan(before - 60_000);
});

test("a run that fails throws EXECUTION_FAILED with its step and error; the end alone can be asked for, too", async () => {
  const workflow = await createWorkflow(service.clients, [{ name: "charge", fail: { error: "card_declined", message: "no money" } }]);
  const run = await wf.start(workflow);
  const error = await run.result().catch((thrown: unknown) => thrown);
  if (!isReason(error, "EXECUTION_FAILED")) throw error;
  expect(error.metadata).toMatchObject({ executionId: run.id, state: "FAILED", endReason: "STEP_FAILED", step: "charge", error: "USER.card_declined" });
  expect(error.message).toContain("no money");
  expect(await run.ended()).toMatchObject({ state: "FAILED", failedStep: "charge", failure: { name: "USER.card_declined", step: "charge" } });
});

test("signal wakes a step that waits, cancel ends a run, and the watch tells both", async () => {
  const waits = { name: "paid", wait_for_event: { any_of: [{ event_type: "payment.settled" }] } };
  const workflow = await createWorkflow(service.clients, [waits], { outputs: { amount: "{{steps.paid.result.data.amount}}" } });
  const paid = await wf.start(workflow, {}, { executionKey: newName("order") });
  await paid.signal("payment.settled", { amount: 7 }, { dedupId: "settled-1", ttlMs: 60_000 });
  expect(await paid.result()).toEqual({ amount: 7 });
  const stopped = await wf.start(workflow);
  for await (const told of stopped.watch())
    if (told.type === "step" && told.state === "WAITING") await stopped.cancel({ reason: "not wanted", graceMs: 1_000 });
  expect(await stopped.ended()).toMatchObject({ state: "CANCELED", endReason: "CANCELED" });
});

test("the states that a watch tells are the service's own, also through retries and undos", async () => {
  const { ledger, clients } = service;
  ledger.script("/flaky", [503, 200]);
  ledger.script("/declined", [402]);
  const steps = [
    httpStep("reserve", `${ledger.url}/reserve`, { undo: `${ledger.url}/release` }),
    httpStep("flaky", `${ledger.url}/flaky`),
    logStep("note"),
    httpStep("charge", `${ledger.url}/declined`),
    logStep("never"),
  ];
  const run = await wf.start(await createWorkflow(clients, steps));
  const told = await all(run.watch());
  const states = new Map(told.flatMap((one) => (one.type === "step" ? [[one.step, one.state] as const] : [])));
  const stored = [...(await stepsOf(clients, run.id)).values()].filter(({ path }) => states.has(path));
  expect(Object.fromEntries(states)).toEqual(Object.fromEntries(stored.map(({ path, state }) => [path, StepState[state]])));
  expect(Object.fromEntries(states)).toMatchObject({ reserve: "COMPENSATED", flaky: "COMPLETED", charge: "FAILED" });
  expect(told.filter((one) => one.type === "step" && one.step === "flaky").map(({ state }) => state)).toEqual(["RUNNING", "RETRYING", "RUNNING", "COMPLETED"]);
  expect(told.at(-1)?.state).toBe("COMPENSATED");
  expect((await run.ended()).state).toBe("COMPENSATED");
});

test("one key, one open run: RETURN_EXISTING finds it, key:<key> names it, and the same requestId starts once", async () => {
  const workflow = await createWorkflow(service.clients, [delayStep("long", "3600s")]);
  const executionKey = newName("key");
  const first = await wf.start(workflow, {}, { executionKey });
  const second = await wf.start(workflow, {}, { executionKey, conflictPolicy: "RETURN_EXISTING" });
  expect([second.id, second.existing]).toEqual([first.id, true]);
  expect((await wf.run(`key:${executionKey}`).status()).id).toBe(first.id);
  const refused = await wf.start(workflow, {}, { executionKey }).catch((thrown: unknown) => thrown);
  expect(isReason(refused, "EXECUTION_EXISTS")).toBe(true);
  await first.cancel();
  const requestId = crypto.randomUUID();
  const starts = [await wf.start(workflow, {}, { requestId }), await wf.start(workflow, {}, { requestId })];
  expect(new Set(starts.map(({ id }) => id)).size).toBe(1);
  expect(starts.map(({ existing }) => existing)).toEqual([false, true]);
});

test("refusals are typed, from every client: reason, fields, metadata, request id", async () => {
  const missing = await wf
    .run("exe_00000000000000000000000000")
    .status()
    .catch((thrown: unknown) => thrown);
  if (!isReason(missing, "EXECUTION_NOT_FOUND")) throw missing;
  expect([missing.code, missing.requestId !== ""]).toEqual(["NOT_FOUND", true]);
  const watched = await all(wf.run("exe_00000000000000000000000000").watch()).catch((thrown: unknown) => thrown);
  expect(isReason(watched, "EXECUTION_NOT_FOUND")).toBe(true);
  const wrong = await wf.workflows.createWorkflow({ workflow: { name: "Not A Name", definition: {} } }).catch((thrown: unknown) => thrown);
  if (!isReason(wrong, "VALIDATION_FAILED")) throw wrong;
  expect(wrong.fieldViolations.map(({ field }) => field)).toContain("workflow.name");
  using stranger = createWorkflowClient({ url: service.server.url, apiKey: "pawf_00000000000000000000000000_nobody" });
  const unknown = await stranger.templates.listTemplates({}).catch((thrown: unknown) => thrown);
  expect(unknown).toMatchObject({ name: "WorkflowApiError", code: "UNAUTHENTICATED", reason: "KEY_INVALID" });
});

test("a wire that is cut again and again loses and repeats no event", async () => {
  const relay = await startRelay(service.server.port);
  using own = createWorkflowClient({ url: relay.url, apiKey: service.server.apiKey });
  const steps = Array.from({ length: 10 }, (_, index) => [httpStep(`call${index}`, `${service.ledger.url}/c`), delayStep(`wait${index}`, "0.03s")]).flat();
  const run = await own.start(await createWorkflow(service.clients, steps));
  const told: RunEvent[] = [];
  let cuts = 0;
  for await (const one of run.watch()) {
    told.push(one);
    if (told.length % 8 === 0 && ++cuts) relay.cut();
  }
  expect(cuts).toBeGreaterThanOrEqual(5);
  expect(told.map(({ sequence }) => sequence)).toEqual(told.map((_, index) => index + 1));
  expect(told.at(-1)).toMatchObject({ event: "execution_ended", state: "COMPLETED" });
  await relay.close();
});

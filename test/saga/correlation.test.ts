/**
 * Saga acceptance 13 as a whole: what a call brings of its trace reaches every participant, event, log line and child, over
 * retries, the death of the replica that drives, and a restart; and it is found again by one filter.
 */
import { fromJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Task, TaskResultSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { connect } from "../service/support/connect-client.ts";
import { createWorkflow, httpStep as workflowStep } from "../service/support/definitions.ts";
import { ended, seconds } from "../service/support/fixture.ts";
import { startAnother } from "../service/support/hosted-server.ts";
import type { RunningServer, Server } from "../service/support/server.ts";
import { atEnd, balanceOf, callsOf, type House, useHouseOfProcesses } from "./support/house.ts";
import { sagaOf } from "./support/steps.ts";

const house = useHouseOfProcesses(2, { PAWF_LOG_LEVEL: "debug" });

const traceId = "0af7651916cd43dd8448eb211c80319c";
const headers = {
  traceparent: `00-${traceId}-b7ad6b7169203331-01`,
  tracestate: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
  baggage: "order.id=A-7;ttl=60,user=jane%20doe,saga.id=forged",
  "x-correlation-id": "trip-7",
};

const bagOf = (sagaId: string, step: string): string => `saga.id=${sagaId},saga.step=${step},correlation.id=trip-7,order.id=A-7`;

describe("a saga that is retried, loses its replica and is undone", () => {
  const logged: RunningServer[] = [];
  let sagaId = "";

  it("carries trace, state, baggage and correlation id to every participant", async () => {
    const { participant, servers } = house;
    logged.push(...servers);
    const clients = connect(servers[1] as Server, headers);
    await participant.script({ "flight action": [14], "hotel action": [503], "car action": [400] });
    const pack = { name: "pack", action: { pull: { task_type: "pack" } }, compensation: participant.httpStep("pack")["compensation"] as object };
    const steps = [participant.grpcStep("flight"), participant.httpStep("hotel"), pack as never, participant.httpStep("car")];
    const { saga } = await clients.sagas.startSaga(sagaOf(steps));
    sagaId = saga?.id ?? "";
    let task: Task | undefined;
    await expect
      .poll(async () => {
        const polled = await house.clients[0]?.tasks.pollTasks({ worker: { workerId: "w", taskTypes: ["pack"] }, wait: seconds(1) });
        task = polled?.tasks[0] ?? task;
        return task?.executionId;
      })
      .toBe(sagaId);
    // Nobody is left who knows the saga: the one that comes goes on by the ledger.
    await servers[1]?.kill();
    await servers[0]?.kill();
    const later = await startAnother(servers[0] as Server);
    logged.push(later);
    (house as House).servers[0] = later;
    house.clients[0] = connect(later);
    expect(task).toMatchObject({ correlationId: "trip-7", tracestate: headers.tracestate, baggage: bagOf(sagaId, "pack") });
    expect(task?.traceparent).toContain(traceId);
    const result = fromJson(TaskResultSchema, { outcome: "OUTCOME_SUCCEEDED" });
    await house.clients[0]?.tasks.completeTasks({ results: [{ taskId: task?.id ?? "", token: task?.token ?? "", result }] });
    expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPENSATED);
    const calls = await callsOf(house, sagaId);
    expect(calls.map(({ step, op }) => `${op} ${step}`)).toEqual(expect.arrayContaining(["action flight", "action hotel", "action car", "compensate pack"]));
    expect(calls.filter(({ op, step }) => op === "action" && step !== "car").length).toBeGreaterThanOrEqual(4);
    for (const { headers: got, step, op } of calls) {
      expect(got, `${op} ${step}`).toMatchObject({ "x-correlation-id": "trip-7", tracestate: headers.tracestate, baggage: bagOf(sagaId, step) });
      expect(got["traceparent"], `${op} ${step}`).toMatch(new RegExp(`^00-${traceId}-`));
    }
    expect(await balanceOf(house, sagaId)).toEqual([]);
  });

  it("has the correlation id on every event, listed and watched", async () => {
    const [first] = house.clients;
    const { events } = (await first?.workflows.listExecutionEvents({ executionId: sagaId, pageSize: 1_000 })) ?? { events: [] };
    expect(events.length).toBeGreaterThan(10);
    expect(new Set(events.map(({ correlationId }) => correlationId))).toEqual(new Set(["trip-7"]));
    expect(events[0]?.payload.value).toMatchObject({ tracestate: headers.tracestate, baggage: "order.id=A-7" });
    const watched: string[] = [];
    for await (const { item } of first?.workflows.watchExecution({ executionId: sagaId, afterSequence: 0n }) ?? []) {
      if (item.case === "event") watched.push(item.value.correlationId);
    }
    expect(watched).toEqual(events.map(() => "trip-7"));
  });

  it("has it on every log line that names the saga, of the replicas that died and of the one that went on", () => {
    const linesOf = (server: RunningServer) => server.logLines.flatMap((line) => (line.includes(sagaId) ? [JSON.parse(line) as Record<string, unknown>] : []));
    const [first, second, later] = logged.map(linesOf);
    for (const lines of [second, later]) expect(lines?.map(({ msg }) => msg)).toEqual(expect.arrayContaining([expect.stringMatching(/sent out/)]));
    for (const line of [first, second, later].flat()) expect(line, JSON.stringify(line)).toMatchObject({ execution_id: sagaId, correlation_id: "trip-7" });
  });
});

it("a workflow hands them to its calls, its notifications and its children, and one filter finds all of it", async () => {
  const { participant } = house;
  const clients = connect(house.servers[0] as Server, headers);
  const url = (name: string): string => `${participant.httpUrl}/steps/${name}/action`;
  const child = await createWorkflow(clients, [workflowStep("inner", url("inner"))]);
  const notify = { name: "tell", notification: { webhook: { url: url("tell"), payload: { a: 1 } } } };
  const workflow = await createWorkflow(clients, [workflowStep("outer", url("outer")), notify, { name: "below", sub_workflow: { workflow: child } }]);
  const { execution } = await clients.workflows.startExecution({ workflow });
  const id = execution?.id ?? "";
  await ended(clients, id);
  const found = await clients.workflows.listExecutions({ filter: "correlation_id = trip-7" });
  const names = found.executions.map(({ workflowName }) => workflowName).sort();
  expect(names).toEqual(["", child, workflow].sort());
  const childId = found.executions.find(({ workflowName }) => workflowName === child)?.id ?? "";
  for (const [sagaId, step] of [
    [id, "outer"],
    [id, "tell"],
    [childId, "inner"],
  ] as const) {
    const [call] = (await callsOf(house, sagaId)).filter((one) => one.step === step);
    expect(call?.headers, step).toMatchObject({ tracestate: headers.tracestate, baggage: bagOf(sagaId, step), "x-correlation-id": "trip-7" });
    expect(call?.headers["saga-token"] === undefined, step).toBe(step === "tell");
  }
  const { sagas } = await clients.sagas.listSagas({ filter: "correlation_id = trip-7" });
  expect(sagas.map(({ id: sagaId }) => sagaId).sort()).toEqual(found.executions.map((one) => one.id).sort());
});

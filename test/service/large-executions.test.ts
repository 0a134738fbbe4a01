/** What callers and steps said may be larger together than a gRPC client takes: 4 MiB a message, as grpc-js has it by default. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createWorkflow } from "./support/definitions.ts";
import { seconds, useServer } from "./support/fixture.ts";
import { type GrpcJs, grpcJs } from "./support/grpc-js-client.ts";

const service = useServer();
let sibling: GrpcJs;
beforeAll(() => {
  sibling = grpcJs({ port: Number(new URL(service.server.url).port), apiKey: service.server.apiKey });
});
afterAll(() => sibling.close());

const input = { text: "i".repeat(2_600_000) };
const answer = { text: "o".repeat(1_600_000) };

it("is sent as far as it fits, largest left out and named, by every call that answers with an execution; whole where that is asked for", async () => {
  service.ledger.script("/big", [{ status: 200, body: answer }]);
  const workflow = await createWorkflow(service.clients, [
    { name: "big", http_request: { method: "GET", url: `${service.ledger.url}/big`, max_response_bytes: 3_000_000 } },
  ]);
  const { method } = WorkflowService;
  const started = await sibling.unary(method.startExecution, { workflow, input, wait: seconds(60) });
  const executionId = started.execution?.id ?? "";
  const { execution } = await sibling.unary(method.getExecution, { executionId });
  const waited = await sibling.unary(method.waitExecution, { executionId });
  for (const shown of [started.execution, execution, waited.execution]) {
    expect(shown).toMatchObject({ id: executionId, omittedFields: ["input"] });
    expect(shown?.input).toBeUndefined();
    expect(JSON.stringify(shown?.output)).toContain("ooo");
  }
  // This client takes more than the default.
  const whole = (await service.clients.workflows.getExecution({ executionId, allowLarge: true })).execution;
  expect(whole?.omittedFields).toEqual([]);
  expect(whole?.input).toEqual(input);
}, 120_000);

it("begins a watch with a snapshot that fits, its steps included, and says which fields of an event were left out", async () => {
  const large = { text: "i".repeat(3_300_000) };
  const workflow = await createWorkflow(service.clients, [{ name: "a", log: { message: "hi" } }]);
  const { execution } = await sibling.unary(WorkflowService.method.startExecution, { workflow, input: large, wait: seconds(60) });
  const executionId = execution?.id ?? "";
  const { events } = await sibling.unary(WorkflowService.method.listExecutionEvents, { executionId });
  expect(events[0]).toMatchObject({ type: "execution_created", omittedFields: ["input"] });
  expect(events.slice(1).flatMap(({ omittedFields }) => omittedFields)).toEqual([]);
  for await (const { item } of sibling.stream(WorkflowService.method.watchExecution, { executionId })) {
    if (item.case === "snapshot") expect(item.value.execution).toMatchObject({ id: executionId, omittedFields: ["input"] });
  }
}, 120_000);

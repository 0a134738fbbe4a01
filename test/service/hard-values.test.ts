/** Values that are hard to store or to send: six megabytes of results, and answers that no database or client would take. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { type WatchExecutionResponse, WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createWorkflow, logStep } from "./support/definitions.ts";
import { ended, run, useServer } from "./support/fixture.ts";
import { type GrpcJs, grpcJs } from "./support/grpc-js-client.ts";
import { collect, range, sequences } from "./support/watching.ts";

const service = useServer();
const stepCount = 200;
let grpc: GrpcJs;
let executionId = "";
let lastSequence = 0;
beforeAll(async () => {
  grpc = grpcJs(service.server);
  const steps = Array.from({ length: stepCount }, (_, index) => ({ name: `s${index}`, data_transform: { output: "{{trigger.data.text}}" } }));
  const workflow = await createWorkflow(service.clients, steps);
  const { execution } = await service.clients.workflows.startExecution({ workflow, input: { text: "x".repeat(30_000) } });
  executionId = execution?.id ?? "";
  lastSequence = Number((await ended(service.clients, executionId)).lastSequence);
  return () => grpc.close();
});

/** Reads all pages. */
async function paged<T>(read: (pageToken: string) => Promise<{ readonly items: readonly T[]; readonly nextPageToken: string }>): Promise<T[]> {
  const all: T[] = [];
  for (let token = "", first = true; first || token !== ""; first = false) {
    const page = await read(token);
    all.push(...page.items);
    token = page.nextPageToken;
  }
  return all;
}

/** Read with grpc-js, whose limit of 4 MiB a message is what most clients have. */
describe("with 6 MB of results", () => {
  test("the execution is read", async () => {
    const { execution } = await grpc.unary(WorkflowService.method.getExecution, { executionId });
    expect(execution?.id).toBe(executionId);
  });

  test("its steps come in pages that fit", async () => {
    const steps = await paged(async (pageToken) => {
      const { steps: items, nextPageToken } = await grpc.unary(WorkflowService.method.listExecutionSteps, {
        executionId,
        view: View.FULL,
        pageSize: 1000,
        pageToken,
      });
      return { items, nextPageToken };
    });
    expect(steps.map((step) => step.path)).toEqual(Array.from({ length: stepCount }, (_, index) => `s${index}`));
  });

  test("its events come in pages that fit", async () => {
    const events = await paged(async (pageToken) => {
      const { events: items, nextPageToken } = await grpc.unary(WorkflowService.method.listExecutionEvents, { executionId, pageSize: 1000, pageToken });
      return { items, nextPageToken };
    });
    expect(sequences(events)).toEqual(range(1, lastSequence));
  });

  test("its saga is read", async () => {
    const { saga } = await grpc.unary(SagaCoordinationService.method.getSaga, { sagaId: executionId });
    expect(saga?.id).toBe(executionId);
  });

  test.each([undefined, 0, 100])("it is watched after %s", async (after) => {
    const request = { executionId, ...(after === undefined ? {} : { afterSequence: BigInt(after) }) };
    const seen = await collect(grpc.stream(WorkflowService.method.watchExecution, request) as AsyncIterable<WatchExecutionResponse>);
    expect(sequences(seen.events)).toEqual(after === undefined ? [] : range(after + 1, lastSequence));
  });
});

describe("answers that no database or client would take", () => {
  const raw: Record<string, string> = {
    "/nul": '{"a":"x\\u0000y"}',
    "/surrogate": '{"a":"\\ud800"}',
    "/deep": `${"[".repeat(60)}${"]".repeat(60)}`,
    "/huge": `"${"x".repeat(1_100_000)}"`,
    "/broken": '{"a":',
    "/proto": '{"__proto__":{"polluted":true},"constructor":{"prototype":1}}',
    "/number": '{"n":1e999,"m":123456789012345678901234567890}',
  };
  beforeAll(() => {
    for (const [path, text] of Object.entries(raw)) service.ledger.script(path, () => ({ status: 200, raw: text }));
  });
  test.each(Object.keys(raw))("%s ends the run with a named failure or a clean result", async (path) => {
    const execution = await run(service.clients, [
      { name: "read", http_request: { url: service.ledger.url + path, response_type: "HTTP_RESPONSE_TYPE_JSON" }, retry_policy: { maximum_attempts: 1 } },
      logStep("after"),
    ]);
    expect([ExecutionState.COMPLETED, ExecutionState.FAILED]).toContain(execution.state);
    if (execution.state === ExecutionState.FAILED) expect(execution.failure?.name).toMatch(/^(SCHEMA|LIMIT\.[A-Z]+|EXPRESSION|NETWORK)$/);
    expect(["/proto", "/number"].includes(path) || execution.state === ExecutionState.FAILED).toBe(true);
    await service.clients.workflows.listExecutionSteps({ executionId: execution.id });
  });
  afterAll(async () => {
    expect((await run(service.clients, [logStep("alive")])).state).toBe(ExecutionState.COMPLETED);
  });
});

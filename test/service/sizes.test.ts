/** A run with 6 MB of results can be read by a client with the usual limit of 4 MiB a message, by pages and by watching. */
import { beforeAll, describe, expect, test } from "vitest";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { type WatchExecutionResponse, WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createWorkflow } from "./support/definitions.ts";
import { ended, useServer } from "./support/fixture.ts";
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

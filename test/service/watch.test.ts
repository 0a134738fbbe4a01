/** Watching: a snapshot, every event once and in order, the end. The same through Connect and through grpc-js. */
import { describe, expect, test } from "vitest";
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { WatchExecutionResponse } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { begin, run, useServer } from "./support/fixture.ts";
import { grpcJs } from "./support/grpc-js-client.ts";
import { refusal } from "./support/refusal.ts";
import { collect, range, type Seen, sequences, types } from "./support/watching.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;

type WatchRequest = { readonly executionId: string; readonly afterSequence?: bigint; readonly eventTypes?: string[] };
type Watch = (request: WatchRequest) => AsyncIterable<{ readonly item: WatchExecutionResponse["item"] }>;

const libraries: readonly { readonly library: string; readonly watch: Watch }[] = [
  { library: "Connect", watch: (request) => service.clients.workflows.watchExecution(request) },
  {
    library: "grpc-js",
    async *watch(request) {
      const grpc = grpcJs(service.server);
      try {
        yield* grpc.stream(WorkflowService.method.watchExecution, request) as AsyncIterable<WatchExecutionResponse>;
      } finally {
        grpc.close();
      }
    },
  },
];

const someSteps = () => [httpStep("a", at("/a"), { undo: at("/undo-a") }), logStep("b"), delayStep("c", "0.1s"), httpStep("d", at("/d")), logStep("e")];

function expectWhole(seen: Seen, after: number, last: number): void {
  expect(seen.kinds[0]).toBe("snapshot");
  expect(seen.snapshots).toHaveLength(1);
  expect(Number(seen.snapshots[0]?.sequence)).toBe(after);
  expect(sequences(seen.events)).toEqual(range(after + 1, last));
  expect(seen.events.at(-1)?.type).toBe("execution_ended");
  expect(seen.kinds.at(-1)).toBe("event");
}

describe.each(libraries)("with $library", ({ watch }) => {
  test("a watch from 0 has every event of the run, live, and ends with the last", async () => {
    const { id } = await begin(service.clients, someSteps());
    const seen = await collect(watch({ executionId: id, afterSequence: 0n }));
    const { events } = await service.clients.workflows.listExecutionEvents({ executionId: id });
    expectWhole(seen, 0, events.length);
    expect(seen.events).toEqual(events);
    expect(seen.snapshots[0]?.execution?.id).toBe(id);
  });

  test("a watch from now on has the state so far and every event after it", async () => {
    const { ledger, clients } = service;
    const gate = `/gate-${crypto.randomUUID()}`;
    ledger.script(gate, ["hang"]);
    const { id } = await begin(clients, [httpStep("first", at("/first")), httpStep("gate", at(gate)), ...someSteps()]);
    await ledger.called(gate);
    let released = false;
    const seen = await collect(watch({ executionId: id }), (so) => {
      if (so.snapshots.length > 0 && !released) {
        released = true;
        ledger.release();
      }
      return false;
    });
    const snapshot = seen.snapshots[0];
    expect(snapshot?.execution?.state).toBe(ExecutionState.RUNNING);
    expect(snapshot?.steps.map((step) => step.path)).toEqual(expect.arrayContaining(["first", "gate"]));
    const { lastSequence } = await clients.workflows.listExecutionEvents({ executionId: id });
    expectWhole(seen, Number(snapshot?.sequence), Number(lastSequence));
  });

  test("a resume after any event has exactly the rest, running or ended", async () => {
    const { id } = await begin(service.clients, someSteps());
    const live = await collect(watch({ executionId: id, afterSequence: 0n }), (seen) => seen.events.length >= 4);
    const rest = await collect(watch({ executionId: id, afterSequence: live.events.at(-1)?.sequence ?? 0n }));
    const last = Number(rest.events.at(-1)?.sequence);
    expect(sequences([...live.events, ...rest.events])).toEqual(range(1, last));
    for (const after of range(0, last)) {
      const seen = await collect(watch({ executionId: id, afterSequence: BigInt(after) }));
      expect(sequences(seen.events), `after ${after}`).toEqual(range(after + 1, last));
      expect(Number(seen.snapshots[0]?.sequence), `after ${after}`).toBe(after);
    }
  });

  test("an ended execution is a snapshot and the end", async () => {
    const { id, lastSequence } = await run(service.clients, [logStep("a")]);
    const seen = await collect(watch({ executionId: id }));
    expect(seen.snapshots).toHaveLength(1);
    expect(seen.snapshots[0]).toMatchObject({ sequence: lastSequence, execution: { state: ExecutionState.COMPLETED } });
    expect(seen.kinds.filter((kind) => kind !== "snapshot")).toEqual([]);
  });

  test("only the asked events come, in order, and it still ends", async () => {
    const { id } = await begin(service.clients, someSteps());
    const seen = await collect(watch({ executionId: id, afterSequence: 0n, eventTypes: ["step_succeeded"] }));
    const asked = seen.events.filter((event) => event.type !== "execution_ended"); // the end may come unasked
    expect(asked.map((event) => event.stepPath)).toEqual(["a", "b", "c", "d", "e"]);
    expect(new Set(types(asked))).toEqual(new Set(["step_succeeded"]));
    expect(seen.live).toEqual([]);
  });

  test("nobody's execution and a sequence of the future are refused before the first message", async () => {
    const { id, lastSequence } = await run(service.clients, [logStep("a")]);
    expect(await refusal(watch({ executionId: "exe_01M84XF5YCEN3SNB41TB8SZ433" }))).toMatchObject({ code: "NOT_FOUND", reason: "EXECUTION_NOT_FOUND" });
    expect(await refusal(watch({ executionId: "key:nobody" }))).toMatchObject({ code: "NOT_FOUND", reason: "EXECUTION_NOT_FOUND" });
    expect(await refusal(watch({ executionId: id, afterSequence: lastSequence + 1n }))).toMatchObject({ code: "OUT_OF_RANGE", reason: "SEQUENCE_AHEAD" });
    expect(await refusal(watch({ executionId: id, afterSequence: 2n ** 63n - 1n }))).toMatchObject({ code: "OUT_OF_RANGE", reason: "SEQUENCE_AHEAD" });
    expect(await refusal(watch({ executionId: id, afterSequence: -1n }))).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["after_sequence"] });
    expect(await refusal(watch({ executionId: id, eventTypes: ["Not One"] }))).toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("StartExecutionAndWatch shows a run from its first event to its last, and twice the same with one request_id", async () => {
    const workflow = await createWorkflow(service.clients, someSteps());
    const start = { workflow, requestId: crypto.randomUUID() };
    const first = await collect(service.clients.workflows.startExecutionAndWatch({ start }));
    const id = first.snapshots[0]?.execution?.id ?? "";
    const { events } = await service.clients.workflows.listExecutionEvents({ executionId: id });
    const from = Number(first.snapshots[0]?.sequence);
    expect(sequences(first.events)).toEqual(range(from + 1, events.length));
    expect(first.events.at(-1)?.type).toBe("execution_ended");
    const existing: boolean[] = [];
    let again = "";
    for await (const message of service.clients.workflows.startExecutionAndWatch({ start })) {
      existing.push(message.existing);
      if (message.item.case === "snapshot") again = message.item.value.execution?.id ?? "";
    }
    expect(again).toBe(id);
    expect(existing[0]).toBe(true);
  });
});

describe("many watchers", () => {
  test("50 at once, joined at different moments, see the same story", async () => {
    const { id } = await begin(service.clients, [...someSteps(), delayStep("f", "0.3s")]);
    const seen = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        await new Promise((resolve) => setTimeout(resolve, index * 8));
        return collect(service.clients.workflows.watchExecution({ executionId: id, afterSequence: 0n }));
      }),
    );
    const [first] = seen;
    for (const one of seen) expect(one.events).toEqual(first?.events);
  });

  test("a slow reader misses nothing: events, or a newer snapshot in their place", async () => {
    const steps = Array.from({ length: 400 }, (_, index) => ({ name: `s${index}`, data_transform: { output: "{{trigger.data.text}}" } }));
    const workflow = await createWorkflow(service.clients, [delayStep("first", "0.2s"), ...steps]);
    const { execution } = await service.clients.workflows.startExecution({ workflow, input: { text: "x".repeat(30_000) } });
    const id = execution?.id ?? "";
    const grpc = grpcJs(service.server);
    const stream = grpc.stream(WorkflowService.method.watchExecution, { executionId: id, afterSequence: 0n });
    let last = -1n;
    const events: ExecutionEvent[] = [];
    let pauses = 0;
    for await (const message of stream as AsyncIterable<WatchExecutionResponse>) {
      if (message.item.case === "snapshot") {
        expect(message.item.value.sequence).toBeGreaterThan(last);
        last = message.item.value.sequence;
      }
      if (message.item.case === "event" && !message.item.value.live) {
        expect(message.item.value.sequence).toBe(last + 1n);
        last = message.item.value.sequence;
        events.push(message.item.value);
      }
      if (pauses++ < 8) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    grpc.close();
    const { lastSequence } = await service.clients.workflows.listExecutionEvents({ executionId: id });
    expect(last).toBe(lastSequence);
    expect(events.at(-1)?.type).toBe("execution_ended");
  });
});

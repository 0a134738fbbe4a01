/** Watches as a service tells them when something goes wrong: what every client of it has to make of them. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { WatchExecutionResponseSchema, WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { draining, startFake } from "./fake-service.ts";

export type WatchItem = MessageInitShape<typeof WatchExecutionResponseSchema>;
export type WatchScript = (after: bigint | undefined, signal: AbortSignal) => AsyncIterable<WatchItem>;

/** One script for each stream that is opened; the last one is used again. */
export async function startWatched(...scripts: WatchScript[]) {
  const asked: (bigint | undefined)[] = [];
  const ids: string[] = [];
  const watchExecution: ServiceImpl<typeof WorkflowService>["watchExecution"] = async function* ({ executionId, afterSequence }, { signal }) {
    const script = scripts[Math.min(asked.length, scripts.length - 1)] as WatchScript;
    asked.push(afterSequence);
    ids.push(executionId);
    yield* script(afterSequence, signal);
  };
  const fake = await startFake({ watchExecution });
  return { fake, asked, ids };
}

export const event = (sequence: number, type: string, stepPath = ""): WatchItem => ({
  item: { case: "event", value: { sequence: BigInt(sequence), executionId: "exe_1", type, stepPath, payload: payloads[type] ?? { case: undefined } } },
});
const payloads: Record<string, never> = Object.fromEntries(
  ["execution_started", "step_started", "step_succeeded", "step_retry_scheduled"].map((name) => [
    name,
    { case: name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()), value: {} },
  ]),
) as Record<string, never>;
payloads["execution_ended"] = { case: "executionEnded", value: { state: 7, endReason: 1 } } as never;
export const snapshot = (sequence: number, state: number, steps: { path: string; state: number }[] = []): WatchItem => ({
  item: { case: "snapshot", value: { sequence: BigInt(sequence), execution: { id: "exe_1", state }, steps } },
});

/** It drains, then repeats itself from an older snapshot, then closes the stream before the end. */
export const repeatingScripts: readonly WatchScript[] = [
  async function* () {
    yield snapshot(0, 1);
    yield event(1, "execution_created");
    yield event(2, "execution_started");
    yield event(3, "step_started", "charge");
    yield event(4, "step_retry_scheduled", "charge");
    throw draining();
  },
  async function* () {
    // A server that forgot where the watch was.
    yield snapshot(2, 2);
    yield event(3, "step_started", "charge");
    yield event(4, "step_retry_scheduled", "charge");
    yield event(5, "step_started", "charge");
  },
  async function* () {
    yield event(6, "step_succeeded", "charge");
    yield event(7, "execution_ended");
  },
];

/** What a client tells of them. */
export const repeatedLines = [
  "1 execution PENDING",
  "2 execution RUNNING",
  "3 charge RUNNING",
  "4 charge RETRYING",
  "5 charge RUNNING",
  "6 charge COMPLETED",
  "7 execution COMPLETED",
];

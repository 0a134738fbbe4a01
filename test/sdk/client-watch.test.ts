/** The watch of the TypeScript client against a service that breaks off, repeats itself and looks back. */

import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, expect, test } from "vitest";
import { createWorkflowClient, type RunEvent, WorkflowApiError, type WorkflowClient } from "../../sdk/typescript/client.ts";
import { draining, type FakeService, refused } from "./fake-service.ts";
import { event, repeatedLines, repeatingScripts, snapshot, startWatched, type WatchScript } from "./watch-scripts.ts";

const open: { client: WorkflowClient; fake: FakeService }[] = [];
afterEach(async () => {
  for (const { client, fake } of open.splice(0)) {
    client.close();
    await fake.close();
  }
});

async function serve(...scripts: WatchScript[]) {
  const watched = await startWatched(...scripts);
  const client = createWorkflowClient({ url: watched.fake.url, apiKey: "key" });
  open.push({ client, fake: watched.fake });
  return { client, ...watched };
}

const lines = (told: readonly RunEvent[]): string[] => told.map((one) => `${one.sequence} ${one.type === "step" ? one.step : one.type} ${one.state}`);

async function all(events: AsyncIterable<RunEvent>): Promise<RunEvent[]> {
  const told: RunEvent[] = [];
  for await (const one of events) told.push(one);
  return told;
}

test("it resumes after the last event, drops repeats and older snapshots, and no state goes back", async () => {
  const { client, asked } = await serve(...repeatingScripts);
  const told = await all(client.run("exe_1").watch());
  expect(lines(told)).toEqual(repeatedLines);
  expect(asked).toEqual([0n, 4n, 5n]);
});

test("from now it begins with a snapshot; a later one stands for events that were left out; a heartbeat moves the position", async () => {
  const { client, asked, ids } = await serve(
    async function* () {
      yield snapshot(10, 3, [{ path: "charge", state: 4 }]);
      yield { item: { case: "heartbeat", value: { lastSequence: 12n } } };
      throw new ConnectError("gone", Code.Unavailable);
    },
    async function* () {
      yield snapshot(12, 3);
      yield snapshot(40, 2, [{ path: "charge", state: 6 }]);
      yield event(41, "execution_ended");
    },
  );
  const told = await all(client.run("key:order-42").watch({ after: "now" }));
  expect(lines(told)).toEqual(["10 snapshot WAITING", "40 snapshot RUNNING", "41 execution COMPLETED"]);
  expect(told[1]).toMatchObject({ steps: { charge: "COMPLETED" } });
  expect(asked).toEqual([undefined, 12n]);
  // Another run may get the key meanwhile.
  expect(ids).toEqual(["key:order-42", "exe_1"]);
});

test("it ends when the end is known, although the stream breaks then", async () => {
  const { client, asked } = await serve(async function* () {
    yield event(1, "execution_ended");
    throw draining();
  });
  expect(lines(await all(client.run("exe_1").watch()))).toEqual(["1 execution COMPLETED"]);
  expect(asked).toHaveLength(1);
});

test("a refusal ends it with the error, and silence does after a while", async () => {
  const { client, asked } = await serve(
    async function* () {
      yield event(1, "execution_started");
      throw draining();
    },
    async function* () {
      yield* [];
      throw refused(Code.Unauthenticated, "KEY_REVOKED");
    },
    async function* () {
      yield* [];
      throw draining();
    },
  );
  await expect(all(client.run("exe_1").watch())).rejects.toMatchObject({ name: "WorkflowApiError", code: "UNAUTHENTICATED", reason: "KEY_REVOKED" });
  expect(asked).toEqual([0n, 1n]);
  await expect(all(client.run("exe_1").watch({ unreachableMsMax: 1_000 }))).rejects.toBeInstanceOf(WorkflowApiError);
  expect(asked.length).toBeGreaterThanOrEqual(3);
});

test("a signal ends it with its reason while it waits and while it pauses; leaving the loop frees the stream", async () => {
  const freed: string[] = [];
  const waiting: WatchScript = async function* (_, signal) {
    yield event(1, "execution_started");
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    freed.push("stream");
  };
  const { client, asked } = await serve(waiting, waiting, async function* () {
    yield* [];
    throw draining(900_000);
  });
  const reason = new Error("enough");
  const abort = new AbortController();
  const watching = (async () => {
    for await (const _ of client.run("exe_1").watch({ signal: abort.signal })) abort.abort(reason);
  })();
  await expect(watching).rejects.toBe(reason);
  for await (const _ of client.run("exe_1").watch()) break;
  await expect.poll(() => freed).toEqual(["stream", "stream"]);
  const later = new AbortController();
  const pausing = expect(all(client.run("exe_1").watch({ signal: later.signal, unreachableMsMax: 9_000_000 }))).rejects.toBe(reason);
  await expect.poll(() => asked.length).toBe(3);
  later.abort(reason);
  await pausing;
});

/** What the TypeScript client does when a call does not get through. The service is a fake that fails as it is told. */
import { Code } from "@connectrpc/connect";
import { afterEach, expect, test } from "vitest";
import { createWorkflowClient, isReason, WorkflowApiError, type WorkflowClient } from "../../sdk/typescript/client.ts";
import { draining, type FakeService, refused, startFake } from "./fake-service.ts";

const open: { client: WorkflowClient; fake: FakeService }[] = [];
afterEach(async () => {
  for (const { client, fake } of open.splice(0)) {
    client.close();
    await fake.close();
  }
});

async function serve(service: Parameters<typeof startFake>[0], apiKey: Parameters<typeof createWorkflowClient>[0] = {}) {
  const fake = await startFake(service);
  const client = createWorkflowClient({ url: fake.url, apiKey: "key-1", ...apiKey });
  open.push({ client, fake });
  return { client, fake };
}

async function failureOf(call: Promise<unknown>): Promise<WorkflowApiError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof WorkflowApiError)) throw new Error(`not refused as it should be: ${String(error)}`);
  return error;
}

const started = { execution: { id: "exe_1" } };

test("a start that meets UNAVAILABLE twice is sent three times under one request_id", async () => {
  const ids: string[] = [];
  const { client } = await serve({
    startExecution: ({ requestId }) => {
      ids.push(requestId);
      if (ids.length < 3) throw draining();
      return started;
    },
  });
  expect((await client.start("order", { order: 42 })).id).toBe("exe_1");
  expect(ids).toHaveLength(3);
  expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
  expect(new Set(ids).size).toBe(1);
  await client.start("order");
  expect(ids[3]).not.toBe(ids[0]);
});

test("a connection that is lost under a call is made again, and the call is sent again under its request_id", async () => {
  const ids: string[] = [];
  const { client, fake } = await serve({
    cancelExecution: async ({ requestId }, { signal }) => {
      ids.push(requestId);
      if (ids.length > 1) return {};
      fake.cut();
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      return {};
    },
  });
  await client.run("exe_1").cancel();
  expect(ids).toHaveLength(2);
  expect(new Set(ids).size).toBe(1);
  expect(fake.connections).toBe(2);
});

test("the caller's own request_id is kept, also of the start inside StartExecutionAndWatch, and none is written into his message", async () => {
  const ids: (string | undefined)[] = [];
  const { client } = await serve({
    startExecution: ({ requestId }) => {
      ids.push(requestId);
      return started;
    },
    // biome-ignore lint/correctness/useYield: it only takes the request.
    async *startExecutionAndWatch({ start }) {
      ids.push(start?.requestId);
    },
  });
  await client.start("order", {}, { requestId: "mine" });
  const request = { start: { workflow: "order" } };
  for (let count = 0; count < 2; count++) for await (const _ of client.workflows.startExecutionAndWatch(request)) throw new Error("nothing is told");
  expect(ids[0]).toBe("mine");
  expect(ids[1]).toMatch(/^[0-9a-f-]{36}$/);
  expect(ids[2]).not.toBe(ids[1]);
  expect(request).toEqual({ start: { workflow: "order" } });
});

test("four tries, then the last error; what another try cannot change is tried once", async () => {
  let tries = 0;
  const { client } = await serve({
    getExecution: ({ executionId }) => {
      tries += 1;
      throw executionId === "exe_away" ? draining() : refused(Code.ResourceExhausted, "RATE_LIMITED", 10);
    },
  });
  const away = await failureOf(client.run("exe_away").status());
  expect([tries, away.code, away.reason]).toEqual([4, "UNAVAILABLE", "SERVER_DRAINING"]);
  tries = 0;
  const limited = await failureOf(client.run("exe_limited").status());
  expect([tries, limited.code, limited.reason, limited.retryAfterMs]).toEqual([1, "RESOURCE_EXHAUSTED", "RATE_LIMITED", 10]);
  expect(isReason(limited, "RATE_LIMITED")).toBe(true);
  expect(isReason(limited, "SCOPE_MISSING")).toBe(false);
});

test("a pause beyond the deadline is not begun", async () => {
  let tries = 0;
  const { client } = await serve({
    getExecution: () => {
      tries += 1;
      throw draining(900_000);
    },
  });
  expect((await failureOf(client.run("exe_1").status({ timeoutMs: 60_000 }))).retryAfterMs).toBe(900_000);
  expect(tries).toBe(1);
});

test("the deadline goes with the call: the contract's default, or the caller's; none on a watch", async () => {
  const told: (number | undefined)[] = [];
  const { client } = await serve({
    getExecution: (_, { timeoutMs }) => {
      told.push(timeoutMs());
      return started;
    },
    cancelExecution: (_, { timeoutMs }) => {
      told.push(timeoutMs());
      return {};
    },
    async *watchExecution(_, { timeoutMs }) {
      told.push(timeoutMs());
      yield { item: { case: "snapshot", value: { execution: { id: "exe_1", state: 7 }, sequence: 3n } } };
    },
  });
  await client.run("exe_1").status();
  await client.run("exe_1").cancel();
  await client.run("exe_1").status({ timeoutMs: 5_000_000 });
  for await (const _ of client.run("exe_1").watch()) void _;
  const [read = 0, write = 0, own = 0, watch] = told;
  // What was left of it when it arrived.
  expect([read <= 10_000, write > 10_000 && write <= 30_000, own > 1_000_000, watch]).toEqual([true, true, true, undefined]);
});

test("a passed deadline is DEADLINE_EXCEEDED, an aborted signal its reason", async () => {
  const { client } = await serve({
    getExecution: async (_, { signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      return started;
    },
  });
  expect((await failureOf(client.run("exe_1").status({ timeoutMs: 50 }))).reason).toBe("DEADLINE_EXCEEDED");
  const reason = new Error("not wanted any more");
  const abort = new AbortController();
  const call = client.run("exe_1").status({ signal: abort.signal });
  abort.abort(reason);
  await expect(call).rejects.toBe(reason);
  await expect(client.run("exe_1").status({ signal: abort.signal })).rejects.toBe(reason);
});

test("a key function is asked for each try, and headers go along", async () => {
  const seen: (string | null)[] = [];
  let keys = 0;
  const { client } = await serve(
    {
      getExecution: (_, { requestHeader }) => {
        seen.push(requestHeader.get("authorization"), requestHeader.get("x-correlation-id"));
        if (seen.length === 2) throw draining();
        return started;
      },
    },
    { apiKey: async () => `key-${++keys}`, headers: { "x-correlation-id": "c-1" } },
  );
  await client.run("exe_1").status();
  expect(seen).toEqual(["Bearer key-1", "c-1", "Bearer key-2", "c-1"]);
});

test("what a key function throws, and a message that cannot be encoded, come out as they are, at once", async () => {
  let calls = 0;
  let keys = 0;
  const own = new Error("the vault is closed");
  const service: Parameters<typeof startFake>[0] = {
    getExecution: () => {
      calls += 1;
      return started;
    },
  };
  const { client } = await serve(service, {
    apiKey: async () => {
      keys += 1;
      throw own;
    },
  });
  const run = client.run("exe_1");
  await expect(run.status()).rejects.toBe(own);
  await expect(run.watch({ unreachableMsMax: 1_000 }).next()).rejects.toBe(own);
  await expect(run.result({ unreachableMsMax: 1_000 })).rejects.toBe(own);
  expect(keys).toBe(3);

  const { client: other } = await serve(service, {
    apiKey: () => {
      keys += 1;
      return "key";
    },
  });
  const many = "many" as never;
  await expect(other.workflows.getExecution({ executionId: "exe_1", view: many })).rejects.toThrow(/^cannot encode field .*\.view to binary/);
  const watch = other.workflows.watchExecution({ executionId: "exe_1", afterSequence: many });
  await expect(watch[Symbol.asyncIterator]().next()).rejects.toThrow(/^cannot encode field .*\.after_sequence to binary/);
  expect([calls, keys]).toEqual([0, 4]);
});

test("a closed client refuses calls and ends what is under way", async () => {
  const asked = Promise.withResolvers<void>();
  const { client } = await serve({
    getExecution: async (_, { signal }) => {
      asked.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      return started;
    },
  });
  const call = failureOf(client.run("exe_1").status());
  await asked.promise;
  client.close();
  expect((await call).code).toBe("CANCELED");
  expect((await failureOf(client.run("exe_1").status())).message).toBe("this client is closed");
});

test("nobody there is UNAVAILABLE; a URL or key that cannot be is said at once", async () => {
  const url = "http://127.0.0.1:1";
  using client = createWorkflowClient({ url, apiKey: "key" });
  expect((await failureOf(client.run("exe_1").status())).code).toBe("UNAVAILABLE");
  expect(() => createWorkflowClient({ url: "localhost:8006", apiKey: "k" })).toThrow("begins with http:// or https://");
  expect(() => createWorkflowClient({ url: "http://user:secret@host", apiKey: "k" })).toThrow("holds no credentials");
  expect(() => createWorkflowClient({ url, apiKey: "" })).toThrow("PAWF_API_KEY");
  expect(() => createWorkflowClient({ url: "", apiKey: "k" })).toThrow("PAWF_URL");
});

test("an output that is too large to come along is read by itself; a status names what was left out", async () => {
  const asked: boolean[] = [];
  const output = "x".repeat(5 * 1024 * 1024);
  const ended = { id: "exe_1", state: 7 };
  const { client } = await serve({
    waitExecution: () => ({ execution: { ...ended, omittedFields: ["output"] } }),
    getExecution: ({ allowLarge }) => {
      asked.push(allowLarge);
      if (asked.length === 1) throw draining();
      return { execution: allowLarge ? { ...ended, output: { kind: { case: "stringValue", value: output } } } : { ...ended, omittedFields: ["output"] } };
    },
  });
  expect((await client.run("exe_1").result()) === output).toBe(true);
  expect(await client.run("exe_1").ended()).toMatchObject({ output: undefined, omittedFields: ["output"] });
  expect(asked).toEqual([true, true]);
  expect(await client.run("exe_1").status()).toMatchObject({ output: undefined, omittedFields: ["output"] });
});

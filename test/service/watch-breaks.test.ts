/** Watches that break: the network, a reader that leaves, a server that stops or dies. A resume loses and repeats nothing. */
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type WatchExecutionResponse, WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Clients, connect } from "./support/connect-client.ts";
import { delayStep, httpStep, logStep } from "./support/definitions.ts";
import { begin, ended, run } from "./support/fixture.ts";
import { grpcJs } from "./support/grpc-js-client.ts";
import { startAnother, startHostedServer } from "./support/hosted-server.ts";
import { type Ledger, startLedger } from "./support/ledger.ts";
import { refusalOf } from "./support/refusal.ts";
import { type RunningServer, startServer } from "./support/server.ts";
import { collect, nothingSeen, range, see, sequences } from "./support/watching.ts";

let database: TestDatabase;
let ledger: Ledger;
let server: RunningServer;
let clients: Clients;
beforeAll(async () => {
  ledger = await startLedger();
  database = await createMigratedDatabase();
  server = await startHostedServer({ databaseUrl: database.databaseUrl, egressAllow: [ledger.address] });
  clients = connect(server);
});
afterAll(async () => {
  await server?.stop();
  await ledger?.close();
  await database?.drop();
});

const longRun = (path = "/c") =>
  Array.from({ length: 12 }, (_, index) => [httpStep(`call${index}`, ledger.url + path), delayStep(`wait${index}`, "0.06s"), logStep(`log${index}`)]).flat();

/** A wire that can be cut. */
async function startCable(port: number): Promise<{ readonly port: number; cut(): void; close(): void }> {
  const ends = new Set<Socket>();
  const proxy = createServer((near) => {
    const far = dial(port, "127.0.0.1");
    for (const end of [near, far]) {
      ends.add(end);
      end.on("error", () => undefined).on("close", () => ends.delete(end));
    }
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const cut = (): void => ends.forEach((end) => void end.resetAndDestroy());
  return {
    port: (proxy.address() as AddressInfo).port,
    cut,
    close() {
      cut();
      proxy.close();
    },
  };
}

test.each(["connect", "grpc-js"])("a wire cut again and again loses and repeats no event (%s)", async (library) => {
  const cable = await startCable(server.port);
  // No call of the run is answered before its beginning was seen, so that the run is never ahead of its reader.
  const path = `/held-${library}`;
  ledger.script(path, ["hang"]);
  const { id } = await begin(clients, longRun(path));
  const seen = nothingSeen();
  const goOn = async (): Promise<void> => {
    await ledger.called(path, seen.events.filter(({ type }) => type === "step_started").length);
    ledger.release();
  };
  let cuts = 0;
  for (let done = false; !done; ) {
    const after = seen.events.at(-1)?.sequence ?? 0n;
    const target = { url: `http://127.0.0.1:${cable.port}`, port: cable.port, apiKey: server.apiKey };
    const grpc = library === "grpc-js" ? grpcJs(target) : undefined;
    const request = { executionId: id, afterSequence: after };
    const stream = grpc
      ? (grpc.stream(WorkflowService.method.watchExecution, request) as AsyncIterable<WatchExecutionResponse>)
      : connect(target).workflows.watchExecution(request);
    const before = seen.events.length;
    try {
      for await (const message of stream) {
        see(seen, message);
        if (seen.events.length === before || seen.events.at(-1)?.type !== "step_started") continue;
        if (cuts < 8) cable.cut();
        else await goOn();
      }
      done = true;
    } catch (error) {
      cuts++;
      expect(["UNAVAILABLE", "ABORTED", "CANCELED", "INTERNAL"]).toContain(refusalOf(error).code);
      await goOn();
    } finally {
      grpc?.close();
    }
  }
  cable.close();
  expect(cuts).toBe(8);
  expect(sequences(seen.events)).toEqual(range(1, seen.events.length));
  expect(seen.events.at(-1)?.type).toBe("execution_ended");
});

test("readers that leave cost nothing: 300 broken watches, then the server stops at once", async () => {
  const { id } = await begin(clients, [delayStep("long", "3600s")]);
  for (let round = 0; round < 10; round++) {
    const aborts = Array.from({ length: 30 }, () => new AbortController());
    const watches = aborts.map(({ signal }) => collect(clients.workflows.watchExecution({ executionId: id }, { signal }), () => false).catch(() => undefined));
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const abort of aborts) abort.abort();
    await Promise.all(watches);
  }
  // On a connection of its own: the other one may still have streams that the server has not seen end.
  expect((await run(connect(server), [logStep("alive")])).endTime).toBeDefined();
});

test("SIGTERM ends a watch with UNAVAILABLE and RetryInfo, and the next server goes on from there", async () => {
  const own = await createMigratedDatabase();
  const first = await startServer({ databaseUrl: own.databaseUrl, egressAllow: [ledger.address] });
  const event = { name: "b", wait_for_event: { any_of: [{ event_type: "go" }], timeout: "600s" } };
  const { id } = await begin(connect(first), [httpStep("a", `${ledger.url}/a`), event, httpStep("c", `${ledger.url}/z`)]);
  const watchers = await Promise.all(
    ["connect", "grpc-js"].map(async (library) => {
      const seen = nothingSeen();
      const grpc = grpcJs(first);
      const request = { executionId: id, afterSequence: 0n };
      const stream =
        library === "grpc-js"
          ? (grpc.stream(WorkflowService.method.watchExecution, request) as AsyncIterable<WatchExecutionResponse>)
          : connect(first).workflows.watchExecution(request);
      const waiting = Promise.withResolvers<void>();
      const reading = (async () => {
        for await (const message of stream) {
          see(seen, message);
          if (seen.events.some((event) => event.type === "step_waiting")) waiting.resolve();
        }
      })().then(() => undefined, refusalOf);
      await waiting.promise;
      return { seen, reading, close: () => grpc.close() };
    }),
  );
  const exit = await first.stop();
  expect(exit).toEqual({ code: 0, signal: null });
  const second = await startAnother(first);
  await connect(second).workflows.signalExecution({ executionId: id, eventType: "go" });
  for (const { seen, reading, close } of watchers) {
    const broken = await reading;
    expect(broken).toMatchObject({ code: "UNAVAILABLE", reason: "SERVER_DRAINING" });
    expect(broken?.retryDelayMs).toBeGreaterThanOrEqual(0);
    close();
    const rest = await collect(connect(second).workflows.watchExecution({ executionId: id, afterSequence: seen.events.at(-1)?.sequence ?? 0n }));
    const all = [...seen.events, ...rest.events];
    expect(sequences(all)).toEqual(range(1, all.length));
    expect(all.at(-1)?.type).toBe("execution_ended");
  }
  await second.stop();
  await own.drop();
  expect(ledger.callsTo("/z")).toHaveLength(1);
});

test("SIGTERM answers those who wait for an end at once: it has not ended yet", async () => {
  const own = await createMigratedDatabase();
  const stopping = await startServer({ databaseUrl: own.databaseUrl, egressAllow: [ledger.address] });
  const { workflows } = connect(stopping);
  const { id } = await begin(connect(stopping), [delayStep("long", "3600s")]);
  const { execution } = await workflows.getExecution({ executionId: id });
  const wait = { seconds: 60n, nanos: 0 };
  const waits = [workflows.waitExecution({ executionId: id, timeout: wait }), workflows.startExecution({ workflow: execution?.workflowId ?? "", wait })];
  // Calls of one connection arrive in their order: both wait by then.
  await expect.poll(async () => (await workflows.listExecutions({})).executions.length).toBe(2);
  const [stop, ...answers] = await Promise.all([stopping.stop(), ...waits]);
  expect(stop).toEqual({ code: 0, signal: null });
  for (const { execution } of answers) expect(execution).toMatchObject({ state: ExecutionState.WAITING });
  await own.drop();
});

test("a watch on one replica sees what another one does", async () => {
  const other = await startAnother(server);
  const { id } = await begin(clients, longRun());
  const [here, there] = await Promise.all([server, other].map((one) => collect(connect(one).workflows.watchExecution({ executionId: id, afterSequence: 0n }))));
  expect(there?.events).toEqual(here?.events);
  expect(there?.events.at(-1)?.type).toBe("execution_ended");
  expect(await ended(connect(other), id)).toEqual(await ended(clients, id));
  await other.stop();
});

test("callers that vanish are no errors of the service", () => {
  const errors = server.logLines.filter((line) => line.includes('"level":"error"')).map((line) => line.slice(0, 300));
  expect(errors).toEqual([]);
});

/**
 * Every example workflow runs on the real service against real siblings, each a process of its own. Then the same steps meet
 * servers that misbehave: the run fails with the error's own name, and the service stays well.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fromJson, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Execution, ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { CreateWorkflowRequestSchema } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { type Child, startChild } from "../../examples/demo/child.ts";
import { type Siblings, startSiblings } from "../../examples/demo/siblings.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import { type Clients, connect } from "../service/support/connect-client.ts";
import { ended, run as runSteps } from "../service/support/fixture.ts";
import { type Server, startServer } from "../service/support/server.ts";
import { complete, success, take } from "../service/support/tasks.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";

const folder = new URL("../../examples/workflows/", import.meta.url);
const fileOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
let siblings: Siblings;
let warehouse: Child;
let misbehaving: Child;
let database: TestDatabase;
let server: Server;
let clients: Clients;

beforeAll(async () => {
  const onExit = (name: string): never => {
    throw new Error(`${name} ended`);
  };
  [siblings, warehouse, misbehaving, database] = await Promise.all([
    startSiblings(0, onExit),
    startChild({ name: "warehouse", command: [fileOf("../../examples/siblings/warehouse.ts")], onExit }),
    startChild({ name: "misbehaving", command: [fileOf("misbehaving.ts")], onExit }),
    createMigratedDatabase(),
  ]);
  const local = [warehouse.ready["port"], misbehaving.ready["http"], misbehaving.ready["grpc"]].map((port) => `127.0.0.1:${port}`);
  // A process of its own: what it costs in memory is looked at below.
  server = await startServer({ databaseUrl: database.databaseUrl, egressAllow: [...siblings.hosts, ...local] });
  clients = connect(server);
});

afterAll(async () => {
  await server?.stop();
  await Promise.all([siblings?.stop(), warehouse?.stop(), misbehaving?.stop()]);
  await database?.drop();
});

/** The example as it is written, and its sample input with the siblings' real addresses. */
async function create(type: string): Promise<{ readonly workflow: string; readonly input: JsonObject }> {
  const source = JSON.parse(readFileSync(new URL(`${type}.json`, folder), "utf8")) as JsonObject;
  const { workflow, warnings } = await clients.workflows.createWorkflow(fromJson(CreateWorkflowRequestSchema, source));
  expect(warnings.filter((warning) => !/undo|compensat/.test(warning.message))).toEqual([]);
  const example = (workflow?.definition?.inputSchema as { examples?: JsonObject[] } | undefined)?.examples?.[0] ?? {};
  const given: Record<string, JsonValue> = {
    orders: siblings.url("orders"),
    payments: siblings.url("payments"),
    webhook: `${siblings.url("webhook-sink")}/messages`,
    warehouse: `dns:///127.0.0.1:${warehouse.ready["port"]}`,
  };
  return { workflow: workflow?.id ?? "", input: Object.fromEntries(Object.entries(example).map(([key, value]) => [key, given[key] ?? value])) };
}

/** What has to be there before an example can be saved. */
async function prepare(type: string): Promise<void> {
  if (type !== "sub_workflow") return;
  const { workflows } = await clients.workflows.listWorkflows({ filter: "name = set-variables" });
  if (workflows.length === 0) await create("set_variables");
}

async function start(type: string): Promise<Execution> {
  await prepare(type);
  const { execution } = await clients.workflows.startExecution({ ...(await create(type)), wait: { seconds: 50n } });
  if (!execution) throw new Error("no execution");
  return execution;
}
const outputOf = (execution: Execution): unknown => execution.output && toJson(ValueSchema, execution.output);
const failureOf = ({ failure }: Execution): string => `${failure?.name}: ${failure?.message}`;

/** What each example comes to; those that wait for somebody are answered by `answers`. */
const outputs: Readonly<Record<string, unknown>> = {
  http_request: { state: "captured", charge: { charge_id: "c-1", amount_cents: 1250, state: "captured" } },
  grpc_call: { state: "RESERVATION_STATE_HELD", levels: [0, 1, 2] },
  file_process: { valid: true, rows: expect.any(Number) },
  delay: { started: expect.stringMatching(/^\d{4}-/) },
  log: { level: "WARN", total: 42.5 },
  conditional: { matched: "large", reviewed: "completed" },
  data_transform: { total: 7, lines_of_a: 2 },
  notification: { delivered: true },
  parallel: { orders: expect.any(Number), note: "meanwhile" },
  for_each: { reserved: 3 },
  set_variables: { gross: 120 },
  fail: { said: "an order of 0 cannot be shipped" },
  wait_for_event: { amount: 12.5 },
  worker_task: { pages: 3 },
  // Runs the workflow of set_variables, which stands above.
  sub_workflow: { gross: 120 },
};
const answers: Readonly<Record<string, (executionId: string) => Promise<void>>> = {
  async wait_for_event() {
    await clients.workflows.publishEvent({ eventType: "payment.settled", correlationKey: "pay-1", data: fromJson(ValueSchema, { amount: 12.5 }) });
  },
  async worker_task() {
    const [task] = await take(clients, "examples");
    await complete(clients, task ?? { id: "", token: "" }, success({ pages: 3 }));
  },
};

describe("examples/workflows", () => {
  it("has one for every step type, and each says what it comes to here", () => {
    const types = [...stepHandlers.keys(), ...blockTypes.map(({ type }) => type)].sort();
    const files = readdirSync(folder).map((file) => file.replace(/\.json$/, ""));
    expect(files.sort()).toEqual(types);
    expect(Object.keys(outputs).sort()).toEqual(types);
  });

  it.each(Object.entries(outputs).filter(([type]) => !answers[type]))("%s", async (type, expected) => {
    const execution = await start(type);
    expect([ExecutionState[execution.state], outputOf(execution)], failureOf(execution)).toEqual(["COMPLETED", expected]);
  });

  it.each(Object.keys(answers))("%s, answered from outside", async (type) => {
    const { execution } = await clients.workflows.startExecution(await create(type));
    await answers[type]?.(execution?.id ?? "");
    const done = await ended(clients, execution?.id ?? "");
    expect([ExecutionState[done.state], outputOf(done)], failureOf(done)).toEqual(["COMPLETED", outputs[type]]);
  });
});

describe("servers that misbehave", () => {
  const http = (path: string, more: JsonObject = {}): JsonObject => ({
    name: "call",
    http_request: { url: `http://127.0.0.1:${misbehaving.ready["http"]}${path}`, ...more },
  });
  const grpc = (method: string): JsonObject => ({
    name: "call",
    grpc_call: { target: `127.0.0.1:${misbehaving.ready["grpc"]}`, plaintext: true, service: "test.Bad", method },
  });
  const once = { default_retry_policy: { maximum_attempts: 1 } };
  const short = { ...once, default_timeouts: { start_to_close: "0.3s" } };

  it.each<[string, () => JsonObject, JsonObject, string]>([
    ["silent", () => http("/silent"), short, "TIMEOUT.START_TO_CLOSE"],
    ["slow", () => http("/drip"), short, "TIMEOUT.START_TO_CLOSE"],
    ["endless", () => http("/endless"), once, "LIMIT.BODY"],
    ["lying about its length", () => http("/lying-length"), once, "NETWORK"],
    ["promising too much", () => http("/huge-length"), once, "LIMIT.BODY"],
    ["redirecting", () => http("/redirect/307"), once, "HTTP.307"],
    ["redirecting without an end", () => http("/redirect-loop", { max_redirects: 5 }), once, "LIMIT.REDIRECTS"],
    ["redirecting elsewhere", () => http(`/redirect-to/${encodeURIComponent("http://169.254.169.254/")}`, { max_redirects: 5 }), once, "LIMIT.REDIRECTS"],
    ["resetting", () => http("/reset-early"), once, "NETWORK"],
    ["resetting late", () => http("/reset-late"), once, "NETWORK"],
    ["sending a bomb", () => http("/bomb"), once, "LIMIT.BODY"],
    ["sending a bomb in a bomb", () => http("/hidden-double-gzip"), once, "SCHEMA"],
    ["nesting without an end", () => http("/deep"), once, "LIMIT.DEPTH"],
    ["a gRPC server without reflection", () => grpc("Ok"), short, "TIMEOUT.START_TO_CLOSE"],
    [
      "an HTTP server where gRPC was meant",
      () => ({ name: "call", grpc_call: { target: `127.0.0.1:${misbehaving.ready["http"]}`, plaintext: true, service: "a.B", method: "C" } }),
      once,
      "NETWORK",
    ],
  ])("%s: the run ends with the error's own name", async (_, step, definition, expected) => {
    expect(failureOf(await runSteps(clients, [step()], definition))).toMatch(new RegExp(`^${expected.replace(".", "\\.")}: `));
  });

  it("leave the service's memory and its other callers alone", async () => {
    const rss = async (): Promise<number> => {
      const metrics = await (await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${server.apiKey}` } })).text();
      return Number(/^process_resident_memory_bytes (\S+)$/m.exec(metrics)?.[1]);
    };
    const hostile = ["/endless", "/bomb", "/hidden-double-gzip", "/deep", "/huge-length", "/huge-headers"];
    const flood = (): Promise<unknown> =>
      Promise.all(
        Array.from({ length: 3 }, () => hostile)
          .flat()
          .map((path) => runSteps(clients, [http(path)], once)),
      );
    await flood();
    const before = await rss();
    let slowestMs = 0;
    const looking = new AbortController();
    const looked = (async () => {
      while (!looking.signal.aborted) {
        const startedAt = performance.now();
        await fetch(`${server.url}/livez`);
        slowestMs = Math.max(slowestMs, performance.now() - startedAt);
      }
    })();
    for (let round = 0; round < 2; round++) await flood();
    looking.abort();
    await looked;
    expect((await rss()) - before).toBeLessThan(150 * 1024 * 1024);
    expect(slowestMs).toBeLessThan(15_000);
  });
});

/**
 * A sibling service that takes part in sagas, as a process of its own: SagaParticipant over gRPC and plain HTTP on two ports, with
 * a ledger of effects. Every key has its effect once; an undo without its action is written down, and the action is then
 * refused. What it answers first can be scripted by step and operation. Prints one JSON line when it serves.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { SagaState, SagaStateSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { PreparedState, SagaParticipant } from "#gen/pyairtable/workflow/v1/saga_participant_pb.js";
import { Operation, type Task, type TaskResult, TaskResultSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";

interface Call {
  readonly saga: string;
  readonly step: string;
  readonly op: string;
  readonly key: string;
  readonly attempt: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly mayNotHaveRun: boolean;
  readonly generation: number;
  readonly input: JsonValue;
  readonly actionOutput: JsonValue;
}

const calls: Call[] = [];
const ended: JsonObject[] = [];
/** Steps whose outcome was asked for, as saga/step. */
const queries: string[] = [];
/** Results by key: the second call of a key gets the first one's. */
const results = new Map<string, JsonValue>();
/** Effects that stand: saga/step. */
const standing = new Set<string>();
const undone = new Set<string>();
/** Answers to come, by "step op" or "saga step op"; taken from the front. A number is an HTTP or gRPC code, "lost" acts and breaks off,
 * "hold" never answers, "acted" acts and never answers. */
const scripts = new Map<string, JsonValue[]>();
let prepared: PreparedState[] = [];

/** What this call is to answer before anything else: the next of its script. */
function scripted(saga: string, step: string, op: string): JsonValue | undefined {
  return (scripts.get(`${saga} ${step} ${op}`) ?? scripts.get(`${step} ${op}`))?.shift();
}

/** The effect itself, once per key. */
function carryOut(saga: string, step: string, op: string, key: string, generation: number): JsonObject {
  const known = results.get(key);
  if (known !== undefined) return { outcome: "OUTCOME_DUPLICATE", output: known };
  const effect = `${saga}/${step}`;
  if (op === "action") {
    if (undone.has(effect)) return { outcome: "OUTCOME_SUSPENDED", error: "suspended" };
    standing.add(effect);
  } else if (op === "compensate") {
    const wasThere = standing.delete(effect);
    undone.add(effect);
    if (!wasThere) return { outcome: "OUTCOME_NULL_COMPENSATED" };
  }
  const output = { step, op, generation };
  results.set(key, output);
  return { outcome: "OUTCOME_SUCCEEDED", output };
}

async function serveTask(task: Task | undefined, headers: Headers): Promise<TaskResult> {
  if (!task) throw new ConnectError("no task", Code.InvalidArgument);
  const op = task.operation === Operation.COMPENSATE ? "compensate" : task.operation === Operation.CONFIRM ? "confirm" : "action";
  const { executionId: saga, stepPath: step, idempotencyKey: key, attempt, generation, mayNotHaveRun } = task;
  calls.push({
    saga,
    step,
    op,
    key,
    attempt,
    generation,
    mayNotHaveRun,
    headers: Object.fromEntries(headers),
    input: task.input ?? null,
    actionOutput: plain(task.actionOutput),
  });
  const answer = scripted(saga, step, op);
  if (answer === "hold" || answer === "acted") {
    if (answer === "acted") carryOut(saga, step, op, key, generation);
    await new Promise(() => undefined);
  }
  if (answer === "lost") {
    carryOut(saga, step, op, key, generation);
    throw new ConnectError("lost", Code.Unavailable);
  }
  if (typeof answer === "number") throw new ConnectError("scripted", answer as Code);
  const result = answer === undefined ? carryOut(saga, step, op, key, generation) : (answer as JsonObject);
  return fromJson(TaskResultSchema, result);
}

function plain(value: Task["actionOutput"]): JsonValue {
  return value?.kind.case === "structValue" ? Object.keys(value.kind.value.fields).length : null;
}

const routes = (router: ConnectRouter): void => {
  router.service(SagaParticipant, {
    execute: async ({ task }, { requestHeader }) => ({ result: await serveTask(task, requestHeader) }),
    compensate: async ({ task }, { requestHeader }) => ({ result: await serveTask(task, requestHeader) }),
    confirm: async ({ task }, { requestHeader }) => ({ result: await serveTask(task, requestHeader) }),
    queryStep: ({ task }) => {
      const { executionId: saga = "", stepPath: step = "" } = task ?? {};
      const answer = scripted(saga, step, "query");
      // Most participants have none.
      if (answer === undefined) throw new ConnectError("no QueryStep", Code.Unimplemented);
      queries.push(`${saga}/${step}`);
      if (typeof answer === "number") throw new ConnectError("scripted", answer as Code);
      if (answer === "hold") return new Promise(() => undefined);
      return { result: fromJson(TaskResultSchema, answer) };
    },
    checkPrepared: async () => ({ state: prepared.length > 1 ? (prepared.shift() ?? PreparedState.UNKNOWN) : (prepared[0] ?? PreparedState.UNKNOWN) }),
    sagaEnded: async ({ sagaId, state, executionKey, correlationId }) => {
      ended.push({ sagaId, state: SagaStateSchema.value[state]?.name ?? String(SagaState.UNSPECIFIED), executionKey, correlationId });
      return {};
    },
  });
};

/** Plain HTTP: /steps/<step>/<op>, and the test's own doors. */
async function serveHttp(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request);
  const answer = (status: number, value: JsonValue, headers: Record<string, string> = {}): void => {
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
  };
  const { pathname } = new URL(request.url ?? "/", "http://participant");
  switch (pathname) {
    case "/ledger":
      return answer(200, { calls: calls as unknown as JsonValue, standing: [...standing], undone: [...undone], ended, queries });
    case "/script":
      for (const [key, answers] of Object.entries(body as JsonObject)) scripts.set(key, answers as JsonValue[]);
      return answer(200, {});
    case "/prepared":
      prepared = (body as unknown as { states: PreparedState[] }).states;
      return answer(200, {});
  }
  const [, step = "", op = ""] = /^\/steps\/([^/]+)\/([^/]+)$/.exec(pathname) ?? [];
  const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
  const saga = headers["saga-id"] ?? "";
  const key = headers["idempotency-key"] ?? "";
  calls.push({ saga, step, op, key, attempt: Number(headers["saga-attempt"]), headers, mayNotHaveRun: false, generation: 0, input: body, actionOutput: null });
  const next = scripted(saga, step, op);
  if (next === "hold" || next === "acted") return void (next === "acted" && carryOut(saga, step, op, key, 0));
  if (next === "lost") {
    carryOut(saga, step, op, key, 0);
    return void response.destroy();
  }
  if (typeof next === "number") return answer(next, { scripted: next });
  if (next !== undefined) {
    const { status, headers: more, body: content } = next as unknown as { status: number; headers?: Record<string, string>; body?: JsonValue };
    return answer(status, content ?? null, more);
  }
  const result = carryOut(saga, step, op, key, 0);
  if (result["outcome"] === "OUTCOME_SUSPENDED") return answer(422, result);
  return answer(result["outcome"] === "OUTCOME_NULL_COMPENSATED" ? 410 : 200, (result["output"] ?? {}) as JsonValue);
}

async function bodyOf(request: IncomingMessage): Promise<JsonValue> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  return text === "" ? null : (JSON.parse(text) as JsonValue);
}

const http = createServer((request, response) => {
  serveHttp(request, response).catch(() => response.destroy());
});
const grpc = createHttp2Server(connectNodeAdapter({ routes }));
const listen = (server: { listen(port: number, host: string, done: () => void): unknown; address(): unknown }): Promise<number> =>
  new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
process.stdout.write(`${JSON.stringify({ http: await listen(http), grpc: await listen(grpc) })}\n`);

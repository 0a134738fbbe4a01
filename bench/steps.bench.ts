/**
 * What steps cost. Expressions alone, in this process; then executions of twenty equal steps of each type over gRPC, one at a time and
 * sixteen at a time, beside the bare call (undici, grpc-js) to the same sibling and the raw commit of the same run. `overhead` is the
 * engine's own share of a step as the service counts it: from the turn that began it until its outcome is durable, less its handler's time;
 * for an effect that spans two commits, each of which it shares with its neighbour.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { StructSchema } from "@bufbuild/protobuf/wkt";
import { Client, credentials } from "@grpc/grpc-js";
import { Agent, request } from "undici";
import { startChild } from "../examples/demo/child.ts";
import { compileExpression } from "../src/domain/expressions/compile-expression.ts";
import { evaluateExpression } from "../src/domain/expressions/evaluate-expression.ts";
import { measureRawCommitMs, median, round, writeResults } from "./measure.ts";
import { type Service, startService } from "./service.ts";

const stepCount = 20;
const warmUps = 3;
const alone = 8;
const together = 16;

/** What a definition typically asks, over a small order. */
const expressions: Readonly<Record<string, string>> = {
  path: "trigger.data.total",
  condition: "trigger.data.total > 100 && trigger.data.customer.country == 'DE'",
  sum_of_ten: "trigger.data.lines.map(l, l.qty * l.price).sum()",
};
const order = {
  total: 120,
  customer: { country: "DE" },
  lines: Array.from({ length: 10 }, (_, index) => ({ sku: `s-${index}`, qty: index, price: 2.5 })),
};

export async function run(): Promise<void> {
  const results: Record<string, number> = {};
  for (const [name, source] of Object.entries(expressions)) {
    const rate = measureExpression(source);
    results[`expression_${name}_per_s`] = Math.round(rate);
    console.log(`expression ${name.padEnd(12)} ${Math.round(rate).toLocaleString("en")} a second`);
  }
  const here = new URL("../examples/siblings/", import.meta.url);
  const siblings = await Promise.all(["orders", "warehouse"].map((name) => startChild({ name, command: [new URL(`${name}.ts`, here).pathname] })));
  const [http, grpc] = siblings.map((child) => `127.0.0.1:${child.ready["port"]}`) as [string, string];
  const service = await startService({ PAWF_EGRESS_ALLOW: `${http},${grpc}` });
  try {
    const bare = { http_request: await measureUndici(http), grpc_call: await measureGrpcJs(grpc) };
    const rawCommitMs = await measureRawCommitMs(service.database);
    results["raw_commit_ms"] = round(rawCommitMs, 3);
    results["bare_undici_ms"] = round(bare.http_request, 3);
    results["bare_grpc_js_ms"] = round(bare.grpc_call, 3);
    console.log(`raw commit ${results["raw_commit_ms"]} ms · bare undici ${results["bare_undici_ms"]} ms · bare grpc-js ${results["bare_grpc_js_ms"]} ms`);
    console.log("type             1 at a time, ms a step   16 at a time, steps/s   overhead, ms");
    for (const [type, config] of Object.entries(stepsOf(http, grpc))) {
      const measured = await measureType(service, type, config);
      results[`${type}_step_ms`] = round(measured.stepMs, 3);
      results[`${type}_step_raw_commits`] = round(measured.stepMs / rawCommitMs);
      results[`${type}_steps_per_s`] = Math.round(measured.stepsPerSecond);
      results[`${type}_overhead_ms`] = round(measured.overheadMs, 3);
      console.log(
        `${type.padEnd(16)} ${measured.stepMs.toFixed(3).padStart(12)} ${String(Math.round(measured.stepsPerSecond)).padStart(24)} ${measured.overheadMs.toFixed(3).padStart(20)}`,
      );
    }
    writeResults("steps", results);
  } finally {
    await service.stop();
    await Promise.all(siblings.map((child) => child.stop()));
  }
}

function measureExpression(source: string): number {
  const compiled = compileExpression(source);
  if (!compiled.ok) throw new Error(compiled.fault.problem);
  const context = { executionId: "exe_1", stepPath: "a", monotonic: () => performance.now() };
  const rates: number[] = [];
  for (let round = 0; round < 5; round++) {
    const count = 50_000;
    const startedAt = performance.now();
    for (let n = 0; n < count; n++) {
      if (!evaluateExpression(compiled.value, { trigger: { data: order } }, context).ok) throw new Error(`${source} failed`);
    }
    rates.push((count * 1_000) / (performance.now() - startedAt));
  }
  return median(rates);
}

/** Configurations by the contract's JSON names, as generated messages take them. */
function stepsOf(http: string, grpc: string): Readonly<Record<string, object>> {
  const text = (value: string): object => ({ kind: { case: "stringValue", value } });
  return {
    log: { case: "log", value: { message: "step of {{execution_id}}" } },
    set_variables: { case: "setVariables", value: { variables: { n: text("{{1 + 1}}") } } },
    data_transform: {
      case: "dataTransform",
      value: {
        input: text("{{trigger.data.lines}}"),
        operations: [{ operation: { case: "filter", value: "it.qty > 4" } }, { operation: { case: "sortBy", value: "it.sku" } }],
      },
    },
    conditional: { case: "conditional", value: { cases: [{ name: "c", when: "trigger.data.total > 100", steps: [] }] } },
    delay: { case: "delay", value: { wait: { case: "duration", value: { seconds: 0n } } } },
    http_request: { case: "httpRequest", value: { url: `http://${http}/orders` } },
    grpc_call: { case: "grpcCall", value: { target: grpc, plaintext: true, service: "shop.v1.Warehouse", method: "GetLedger" } },
  };
}

async function measureType(service: Service, type: string, kind: object): Promise<{ stepMs: number; stepsPerSecond: number; overheadMs: number }> {
  const steps = Array.from({ length: stepCount }, (_, index) => ({ name: `s${index}`, kind }));
  const workflow = type.replaceAll("_", "-");
  await service.workflows.createWorkflow({ workflow: { name: workflow, definition: { durability: 2, steps } } } as never);
  const one = async (): Promise<void> => {
    const { execution } = await service.workflows.startExecution({ workflow, input: order, wait: { seconds: 30n } } as never);
    if (execution?.failure) throw new Error(`${type}: ${execution.failure.name}: ${execution.failure.message}`);
  };
  for (let n = 0; n < warmUps; n++) await one();
  const times: number[] = [];
  const before = await overhead(service, type);
  for (let n = 0; n < alone; n++) {
    const startedAt = performance.now();
    await one();
    times.push((performance.now() - startedAt) / stepCount);
  }
  const after = await overhead(service, type);
  const startedAt = performance.now();
  const rounds = 4;
  await Promise.all(
    Array.from({ length: together }, async () => {
      for (let n = 0; n < rounds; n++) await one();
    }),
  );
  const seconds = (performance.now() - startedAt) / 1_000;
  return {
    stepMs: median(times),
    stepsPerSecond: (together * rounds * stepCount) / seconds,
    overheadMs: after.count === before.count ? 0 : ((after.sum - before.sum) * 1_000) / (after.count - before.count),
  };
}

async function overhead({ url, apiKey }: Service, type: string): Promise<{ sum: number; count: number }> {
  const text = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${apiKey}` } })).text();
  const read = (part: string): number =>
    Number(new RegExp(`^pyairtable_workflow_step_overhead_seconds_${part}\\{type="${type}"\\} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
  return { sum: read("sum"), count: read("count") };
}

/** Median of single calls on one warm connection. */
async function measureCalls(call: () => Promise<unknown>): Promise<number> {
  for (let n = 0; n < 50; n++) await call();
  const times: number[] = [];
  for (let n = 0; n < 300; n++) {
    const startedAt = performance.now();
    await call();
    times.push(performance.now() - startedAt);
  }
  return median(times);
}

async function measureUndici(host: string): Promise<number> {
  const dispatcher = new Agent();
  const ms = await measureCalls(async () => (await request(`http://${host}/orders`, { dispatcher })).body.json());
  await dispatcher.close();
  return ms;
}

async function measureGrpcJs(host: string): Promise<number> {
  const client = new Client(host, credentials.createInsecure());
  const bytes = Buffer.from(toBinary(StructSchema, create(StructSchema)));
  const ms = await measureCalls(
    () =>
      new Promise((resolve, reject) =>
        client.makeUnaryRequest(
          "/shop.v1.Warehouse/GetLedger",
          (value: Buffer) => value,
          (value) => value,
          bytes,
          (error, answer) => (error ? reject(error) : resolve(answer)),
        ),
      ),
  );
  client.close();
  return ms;
}

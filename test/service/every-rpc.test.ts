/** Whatever is sent to whichever rpc: an answer or a listed refusal, never INTERNAL or UNKNOWN, and the server lives on. */
import { create, type DescField, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AccessService } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { postJson } from "./support/connect-client.ts";
import { type GrpcJs, grpcJs } from "./support/grpc-js-client.ts";
import { startHostedServer } from "./support/hosted-server.ts";
import { listedReasons, type Refusal, refusalOf, refusalOfJson } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";

let database: TestDatabase;
let server: RunningServer;
let grpc: GrpcJs;
beforeAll(async () => {
  database = await createMigratedDatabase();
  server = await startHostedServer({ databaseUrl: database.databaseUrl });
  grpc = grpcJs(server);
});
afterAll(async () => {
  grpc?.close();
  await server?.stop();
  await database?.drop();
});

const services = [
  ...[TemplateService, WorkflowService, SagaCoordinationService, TaskService],
  ...[SecretService, FileService, AccessService, MonitoringService],
];
const methods = services.flatMap((service) => service.methods.map((method) => ({ name: `${service.name}/${method.name}`, method })));

/** These must be there; others may say FEATURE_DISABLED. */
const served = new Set(
  [
    "TemplateService/ListTemplates GetTemplate ListTemplateCategories CreateWorkflowFromTemplate PreviewTemplateUpgrade UpgradeWorkflows CreateTemplate UpdateTemplate DeleteTemplate",
    "TemplateService/UndeleteTemplate PublishTemplate RollbackTemplate ListTemplateVersions GetTemplateVersion DiffTemplateVersions ResolveTemplate",
    "TemplateService/ListTemplateDescendants GetTemplateUsageStats ExportTemplates ImportTemplates",
    "WorkflowService/ListWorkflows GetWorkflow CreateWorkflow DeleteWorkflow UndeleteWorkflow ValidateDefinition GetWorkflowRevision",
    "WorkflowService/UpdateWorkflow ListWorkflowRevisions ActivateWorkflowRevision RollbackWorkflow DiffWorkflowRevisions PauseWorkflow ResumeWorkflow GetWorkflowGraph TestWorkflow",
    "WorkflowService/StartExecution StartExecutionAndWatch BatchStartExecutions GetExecution WaitExecution ListExecutions ListExecutionSteps",
    "WorkflowService/GetExecutionStep ListExecutionEvents WatchExecution WatchExecutions CancelExecution TerminateExecution PauseExecution ResumeExecution",
    "WorkflowService/RetryExecution RerunExecution SkipStep CompleteStep FailStep UpdateVariables PreviewCompensation ExplainExecution",
    "WorkflowService/CountExecutions DeleteExecution SignalExecution PublishEvent",
    "SagaCoordinationService/GetSaga",
    "TaskService/PollTasks StreamTasks CompleteTasks HeartbeatTasks ListWorkers ListTaskQueues",
    "FileService/CreateFile AppendFile CompleteFile GetFile ReadFile ListFiles DeleteFile",
    "AccessService/ListAuditEntries CreateApiKey ListApiKeys RotateApiKey RevokeApiKey CreateTenant GetTenant ListTenants UpdateTenant WatchAuditEntries",
    "MonitoringService/GetServiceStatus GetMetrics GetExecutionStats",
    "SecretService/SetSecret RotateSecret ListSecrets DeleteSecret",
  ].flatMap(
    (line) =>
      line
        .split("/")[1]
        ?.split(" ")
        .map((method) => `${line.split("/")[0]}/${method}`) ?? [],
  ),
);

const garbage = [
  "x",
  "'; DROP TABLE workflows; --",
  "\u0000",
  "../../etc/passwd",
  "💥\u202E",
  "9".repeat(400),
  "exe_01M84XF5YCEN3SNB41TB8SZ433",
  "exe_ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
  "wfl_01M84XF5YCEN3SNB41TB8SZ433",
  "key:",
  "key:x",
  "__proto__",
  "%00%",
  "state = RUNNING AND (",
];

describe("every rpc", () => {
  test.each(methods)("$name takes an empty request", async ({ name, method }) => {
    const outcome = await send(method, create(method.input));
    expectListed(outcome, name);
    if (served.has(name)) expect(outcome?.code, name).not.toBe("UNIMPLEMENTED");
    if (outcome?.code === "UNIMPLEMENTED") expectOff(outcome, name);
  });

  test.each(methods)("$name takes garbage in every text", async ({ name, method }) => {
    for (const text of garbage) expectListed(await send(method, filled(method.input, text, 3)), `${name} with ${JSON.stringify(text.slice(0, 40))}`);
    for (const bad of [-1, 2 ** 31 - 1]) expectListed(await send(method, filled(method.input, "x", 3, bad)), `${name} with ${bad}`);
  });

  test.each(methods.filter(({ method }) => method.methodKind === "unary"))("$name takes JSON that is none of its own", async ({ name }) => {
    for (const body of [
      "{}",
      '{"nobody":1}',
      "[]",
      "null",
      "",
      "{",
      '{"workflow":{"a":1}}',
      '{"pageSize":"many"}',
      '{"executionId":"\\ud800"}',
      '{"requestId":"\\u0000"}',
    ]) {
      const answer = await postJson(server, name, body);
      if (answer.status !== 200) expectListed(refusalOfJson(answer), `${name} with ${body}`);
    }
  });
});

test("a refused page token, order or filter is named by its field", async () => {
  const wrong: readonly [field: string, text: string][] = [
    ["page_token", "x"],
    ["order_by", "nobody desc"],
    ["filter", "state = RUNNING AND ("],
  ];
  const listings = methods.filter(({ method }) => method.name.startsWith("List") && method.methodKind === "unary");
  for (const { name, method } of listings) {
    for (const [field, text] of wrong) {
      const asked = method.input.fields.find((known) => known.name === field);
      // What is listed is looked up first, and there is none of it.
      if (!asked || method.input.fields.some((known) => ["workflow", "template", "execution_id"].includes(known.name))) continue;
      const outcome = await send(method, create(method.input, { [asked.localName]: text }));
      expect([outcome?.code, outcome?.fields], `${name} with ${text} as ${field}`).toEqual(["INVALID_ARGUMENT", [field]]);
    }
  }
});

test("unknown methods and services, GET and odd paths are refused too, and the server still answers", async () => {
  for (const path of [
    "WorkflowService/Nothing",
    "Nobody/GetWorkflow",
    "WorkflowService/",
    "WorkflowService/getWorkflow",
    "WorkflowService%2FGetWorkflow",
    "..%2f..%2fetc",
  ]) {
    const response = await fetch(`${server.url}/pyairtable.workflow.v1.${path}`, {
      method: "POST",
      body: "{}",
      headers: { "content-type": "application/json", authorization: `Bearer ${server.apiKey}` },
    });
    expect([401, 404, 501], path).toContain(response.status);
  }
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
});

async function send(method: DescMethod, message: Message): Promise<Refusal | undefined> {
  if (method.methodKind === "unary") {
    return grpc.unary(method, message).then(
      () => undefined,
      (error: unknown) => refusalOf(error),
    );
  }
  const stream = grpc.stream(method, message);
  return new Promise((resolve) => {
    stream.on("data", () => stream.cancel());
    stream.on("error", (error) => resolve((error as { code?: number }).code === 1 ? undefined : refusalOf(error)));
    stream.on("end", () => resolve(undefined));
  });
}

function expectListed(outcome: Refusal | undefined, what: string): void {
  if (outcome === undefined) return;
  expect(["INTERNAL", "UNKNOWN", "DATA_LOSS"], `${what}: ${outcome.message}`).not.toContain(outcome.code);
  expect(listedReasons, `${what}: ${outcome.code} ${outcome.message}`).toContain(outcome.reason);
  expect(outcome.domain, what).toBe("workflow.pyairtable.dev");
  expect(outcome.message, what).not.toMatch(/\bat .*\.ts:|select |insert |relation "/i);
}

/** What is not there says so by its own name. */
function expectOff({ reason, message, metadata }: Refusal, name: string): void {
  expect(reason, name).toBe("FEATURE_DISABLED");
  expect(`${message} ${Object.values(metadata).join(" ")}`).toContain(name.split("/")[1]);
}

/** A message with `text` in every string and `number` in every number, down to `depth`. */
function filled(desc: DescMessage, text: string, depth: number, number = 1): Message {
  const message = create(desc) as Message & Record<string, unknown>;
  for (const field of desc.fields) {
    const value = valueFor(field, text, depth, number);
    if (value === undefined) continue;
    if (field.oneof) message[field.oneof.localName] = { case: field.localName, value };
    else message[field.localName] = value;
  }
  return message;
}

function valueFor(field: DescField, text: string, depth: number, number: number): unknown {
  if (field.fieldKind === "list")
    return field.listKind === "scalar" ? [text] : field.listKind === "message" && depth > 0 ? [filled(field.message, text, depth - 1, number)] : undefined;
  if (field.fieldKind === "map") return field.mapKind === "scalar" ? { [text]: text } : undefined;
  if (field.fieldKind === "message") {
    if (field.message.typeName === "google.protobuf.Struct") return { [text]: text };
    if (field.message.typeName === "google.protobuf.Value") return create(ValueSchema, { kind: { case: "stringValue", value: text } });
    return depth > 0 ? filled(field.message, text, depth - 1, number) : undefined;
  }
  if (field.fieldKind === "enum") return number === 1 ? undefined : Math.abs(number);
  if (field.scalar === 9) return text;
  if (field.scalar === 3) return BigInt(number);
  return field.scalar === 5 || field.scalar === 1 ? number : undefined;
}

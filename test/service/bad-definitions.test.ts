/** What a user can get wrong is refused with the path of the mistake, and nothing is stored. */

import type { JsonValue } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Metadata } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Clients, connect, postJson } from "./support/connect-client.ts";
import { logStep, newName } from "./support/definitions.ts";
import { grpcJs } from "./support/grpc-js-client.ts";
import { startHostedServer } from "./support/hosted-server.ts";
import { listedReasons, refusalOf, refusalOfJson } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";

let database: TestDatabase;
let server: RunningServer;
let clients: Clients;
beforeAll(async () => {
  database = await createMigratedDatabase();
  server = await startHostedServer({ databaseUrl: database.databaseUrl });
  clients = connect(server);
});
afterAll(async () => {
  await server?.stop();
  await database?.drop();
});

const url = "https://example.com/";
const get = (more: object): object => ({ name: "call", http_request: { url, ...more } });
const nested = (levels: number): object =>
  levels === 0 ? logStep("inner") : { name: `level${levels}`, conditional: { cases: [{ name: "yes", when: "true", steps: [nested(levels - 1)] }] } };
const deepJson = (levels: number): JsonValue => (levels === 0 ? 1 : [deepJson(levels - 1)]);

interface Case {
  readonly what: string;
  readonly steps?: readonly unknown[];
  readonly definition?: object;
  readonly workflow?: object;
  /** One of these. */
  readonly reason: string | readonly string[];
  /** A violation's path must contain it. */
  readonly field?: string;
  /** Refused while it is read: there is no field to name. */
  readonly unreadable?: boolean;
}

const cases: readonly Case[] = [
  { what: "an unknown field of the request", workflow: { colour: "red" }, reason: "VALIDATION_FAILED", field: "workflow.colour" },
  { what: "an unknown field of a step", steps: [{ ...logStep("a"), retries: 3 }], reason: "VALIDATION_FAILED", field: "workflow.definition.steps[0].retries" },
  { what: "an unknown field deep inside", steps: [logStep("a"), get({ follow: true })], reason: "VALIDATION_FAILED", field: "steps[1].http_request.follow" },
  { what: "an unknown step type", steps: [{ name: "a", teleport: {} }], reason: ["STEP_TYPE_UNKNOWN", "VALIDATION_FAILED"], field: "steps[0]" },
  { what: "a step without a name", steps: [{ log: { message: "x" } }], reason: "VALIDATION_FAILED", field: "steps[0].name" },
  { what: "a step without a type", steps: [{ name: "a" }], reason: ["STEP_TYPE_UNKNOWN", "VALIDATION_FAILED"], field: "steps[0]" },
  { what: "two steps of one name, but for case", steps: [logStep("pay"), logStep("Pay")], reason: "STEP_NAME_DUPLICATE", field: "steps[1].name" },
  { what: "a name that is an object's property", steps: [logStep("__proto__")], reason: "VALIDATION_FAILED", field: "steps[0].name" },
  { what: "the name constructor", steps: [logStep("constructor")], reason: ["VALIDATION_FAILED", "EXPRESSION_INVALID"], field: "steps[0].name" },
  { what: "an unknown variable", steps: [logStep("a", "hi {{customer}}")], reason: "UNKNOWN_VARIABLE", field: "steps[0].log.message" },
  { what: "a step that comes later", steps: [logStep("a", "{{steps.b.result}}"), logStep("b")], reason: "UNKNOWN_VARIABLE", field: "steps[0].log.message" },
  { what: "secrets in an expression", steps: [logStep("a", "{{secrets.X}}")], reason: "UNKNOWN_VARIABLE", field: "steps[0].log.message" },
  { what: "a broken expression", steps: [{ ...logStep("a"), run_if: "1 +" }], reason: "EXPRESSION_INVALID", field: "steps[0].run_if" },
  { what: "an unclosed template", steps: [logStep("a", "{{ 1 + 1")], reason: "EXPRESSION_INVALID", field: "steps[0].log.message" },
  { what: "a condition that is no bool", steps: [{ ...logStep("a"), run_if: "'yes'" }], reason: "EXPRESSION_TYPE", field: "steps[0].run_if" },
  { what: "reaching for JavaScript", steps: [logStep("a", "{{constructor.constructor()}}")], reason: ["UNKNOWN_VARIABLE", "EXPRESSION_INVALID"] },
  { what: "a private address", steps: [get({ url: "http://2130706433/" })], reason: "EGRESS_BLOCKED", field: "steps[0].http_request.url" },
  { what: "another scheme", steps: [get({ url: "file:///etc/passwd" })], reason: ["EGRESS_BLOCKED", "VALIDATION_FAILED"], field: "http_request.url" },
  { what: "a method of one's own", steps: [get({ method: "BREW" })], reason: "VALIDATION_FAILED", field: "http_request.method" },
  { what: "a header that is ours", steps: [get({ headers: { Host: "evil" } })], reason: "VALIDATION_FAILED", field: "http_request.headers" },
  { what: "a header with a line break", steps: [get({ headers: { "X-A": "a\r\nX-B: b" } })], reason: "VALIDATION_FAILED", field: "http_request.headers" },
  {
    what: "an undeclared secret slot",
    steps: [get({ auth: { bearer: { slot: "nope" } } })],
    reason: ["SECRET_SLOT_UNKNOWN", "VALIDATION_FAILED"],
    field: "http_request.auth",
  },
  {
    what: "too many attempts",
    steps: [{ ...logStep("a"), retry_policy: { maximum_attempts: 1001 } }],
    reason: "VALIDATION_FAILED",
    field: "steps[0].retry_policy.maximum_attempts",
  },
  {
    what: "a pause below the least",
    steps: [{ ...logStep("a"), retry_policy: { initial_interval: "0.001s" } }],
    reason: "VALIDATION_FAILED",
    field: "initial_interval",
  },
  { what: "a negative delay", steps: [{ name: "a", delay: { duration: "-1s" } }], reason: "VALIDATION_FAILED", field: "steps[0].delay.duration" },
  { what: "a delay of centuries", steps: [{ name: "a", delay: { duration: "31536001s" } }], reason: "VALIDATION_FAILED", field: "steps[0].delay.duration" },
  { what: "blocks nested 9 deep", steps: [nested(9)], reason: "LIMIT_EXCEEDED" },
  { what: "blocks nested 30 deep", steps: [nested(30)], reason: ["LIMIT_EXCEEDED", "VALIDATION_FAILED"], unreadable: true },
  { what: "values 40 deep", definition: { variables: { deep: deepJson(40) } }, reason: ["LIMIT_EXCEEDED", "VALIDATION_FAILED"], field: "variables" },
  { what: "values 2,000 deep", definition: { variables: { deep: deepJson(2000) } }, reason: ["LIMIT_EXCEEDED", "VALIDATION_FAILED"], unreadable: true },
  {
    what: "1,001 steps",
    steps: Array.from({ length: 1001 }, (_, index) => logStep(`s${index}`)),
    reason: ["LIMIT_EXCEEDED", "VALIDATION_FAILED"],
    field: "steps",
  },
  {
    what: "1,200 steps in two blocks",
    steps: [0, 1].map((half) => ({
      name: `half${half}`,
      conditional: { cases: [{ name: "y", when: "true", steps: Array.from({ length: 600 }, (_, index) => logStep(`s${half}_${index}`)) }] },
    })),
    reason: "LIMIT_EXCEEDED",
  },
  { what: "a schema that is none", definition: { input_schema: { type: "objekt" } }, reason: "SCHEMA_INVALID", field: "input_schema" },
  { what: "a schema that is no object", definition: { input_schema: { properties: [] } }, reason: "SCHEMA_INVALID", field: "input_schema" },
  { what: "another language version", definition: { dsl_version: "v2" }, reason: "DSL_VERSION_UNSUPPORTED", field: "dsl_version" },
  {
    what: "a compensatable step after the pivot",
    steps: [
      { ...get({ method: "POST" }), compensation: { kind: "COMPENSATION_KIND_PIVOT" } },
      { name: "late", http_request: { method: "POST", url }, compensation: { step: { name: "undo", http_request: { method: "DELETE", url } } } },
    ],
    reason: "PIVOT_ORDER",
  },
  {
    what: "an undo with an undo",
    steps: [
      {
        ...get({ method: "POST" }),
        compensation: { step: { name: "undo", http_request: { url }, compensation: { step: { name: "undo2", http_request: { url } } } } },
      },
    ],
    reason: "COMPENSATION_INVALID",
  },
  { what: "an undo that is a block", steps: [{ ...get({ method: "POST" }), compensation: { step: nested(1) } }], reason: "COMPENSATION_INVALID" },
  {
    what: "a missing undo where one is required",
    definition: { compensation_policy: { require_compensation: true } },
    steps: [get({ method: "POST" })],
    reason: "COMPENSATION_INVALID",
  },
  { what: "a NUL in a text", steps: [logStep("a", "x\u0000y")], reason: "VALIDATION_FAILED", field: "message" },
  { what: "a NUL in a value", definition: { variables: { a: { b: "x\u0000" } } }, reason: "VALIDATION_FAILED", field: "variables" },
  { what: "a lone surrogate", definition: { variables: { a: "\ud800" } }, reason: "VALIDATION_FAILED", field: "variables" },
  { what: "a bad name", workflow: { name: "No Good" }, reason: "VALIDATION_FAILED", field: "workflow.name" },
  { what: "no name", workflow: { name: "" }, reason: "VALIDATION_FAILED", field: "workflow" },
  { what: "no definition", workflow: { definition: undefined }, reason: "VALIDATION_FAILED", field: "workflow" },
  {
    what: "65 labels",
    workflow: { labels: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`l${index}`, ""])) },
    reason: "VALIDATION_FAILED",
    field: "workflow.labels",
  },
  { what: "a bidi character in a display name", workflow: { display_name: "a\u202Eb" }, reason: "VALIDATION_FAILED", field: "display_name" },
  { what: "a NUL in a description", workflow: { description: "a\u0000b" }, reason: "VALIDATION_FAILED", field: "description" },
  { what: "a NUL in a label", workflow: { labels: { a: "x\u0000" } }, reason: "VALIDATION_FAILED", field: "labels" },
];

const reasons = (reason: Case["reason"]): readonly string[] => (typeof reason === "string" ? [reason] : reason);
const stored = async (): Promise<readonly string[]> =>
  (await clients.workflows.listWorkflows({ showDeleted: true, pageSize: 1000 })).workflows.map((workflow) => workflow.name);

describe("is refused with its path and leaves nothing behind:", () => {
  test.each(cases)("$what", async ({ steps = [logStep("ok")], definition = {}, workflow = {}, reason, field, unreadable = false }) => {
    const name = newName("bad");
    const body = { workflow: { name, definition: { steps, ...definition }, ...workflow } };
    const answer = await postJson(server, "WorkflowService/CreateWorkflow", body);
    expect(answer.status, "it was accepted").not.toBe(200);
    const error = refusalOfJson(answer);
    expect({ code: error.code, status: answer.status, domain: error.domain }, error.message).toEqual({
      code: "INVALID_ARGUMENT",
      status: 400,
      domain: "workflow.pyairtable.dev",
    });
    expect(reasons(reason), error.message).toContain(error.reason);
    expect(error.requestId).not.toBe("");
    if (!unreadable) expect(error.fields.length, error.message).toBeGreaterThan(0);
    if (field !== undefined) expect(error.fields.join(" "), error.message).toContain(field);
    expect(await stored()).not.toContain(name);
  });
});

test("the same over gRPC: an unknown binary field is refused with its number", async () => {
  const definition = new BinaryWriter().tag(1, WireType.LengthDelimited).string("v1").tag(4000, WireType.Varint).int32(7).finish();
  const workflow = new BinaryWriter().tag(2, WireType.LengthDelimited).string("refused").tag(8, WireType.LengthDelimited).bytes(definition).finish();
  const request = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(workflow).finish();
  const grpc = grpcJs(server);
  const error = await new Promise((resolve, reject) =>
    grpc.client.makeUnaryRequest(
      "/pyairtable.workflow.v1.WorkflowService/CreateWorkflow",
      (bytes: Buffer) => bytes,
      (bytes) => bytes,
      Buffer.from(request),
      authorized(),
      (failure) => (failure ? resolve(failure) : reject(new Error("it was accepted"))),
    ),
  ).finally(() => grpc.close());
  const refused = refusalOf(error);
  expect(refused).toMatchObject({ code: "INVALID_ARGUMENT", reason: "VALIDATION_FAILED" });
  expect(`${refused.fields.join()} ${refused.message} ${refused.fieldMessages.join()}`).toContain("4000");
  expect(await stored()).not.toEqual(expect.arrayContaining([expect.stringMatching(/refused|big/)]));
});

test("what is no JSON, no message or too large is refused by name", async () => {
  const call = "WorkflowService/CreateWorkflow";
  for (const body of [
    "",
    "{",
    "[]",
    '"x"',
    "nul",
    '{"workflow":7}',
    '{"workflow":{"name":"a","name":"b"}}',
    '{"workflow":{"labels":[]}}',
    `${"[".repeat(5000)}`,
    `{"workflow":${'{"definition":'.repeat(3000)}`,
  ]) {
    const error = refusalOfJson(await postJson(server, call, body));
    expect(error.code, body.slice(0, 40)).toBe("INVALID_ARGUMENT");
    expect(listedReasons).toContain(error.reason);
  }
  const tooLarge = refusalOfJson(await postJson(server, call, { workflow: { name: "big", description: "x".repeat(5 * 1024 * 1024) } }));
  expect(tooLarge).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "PAYLOAD_TOO_LARGE" });
  const bigDefinition = { workflow: { name: "big", definition: { steps: [logStep("a")], variables: { text: "x".repeat(1_200_000) } } } };
  const error = refusalOfJson(await postJson(server, call, bigDefinition));
  expect(["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"]).toContain(error.code);
  expect(["LIMIT_EXCEEDED", "PAYLOAD_TOO_LARGE"]).toContain(error.reason);
  expect(await stored()).not.toEqual(expect.arrayContaining([expect.stringMatching(/refused|big/)]));
});

function authorized(): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${server.apiKey}`);
  return metadata;
}

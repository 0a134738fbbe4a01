/** Shows on examples what the rules of the contract accept and refuse. Steps inside blocks: see nested-rules.test.ts. */
import { type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, test } from "vitest";
import { EnlistStepRequestSchema, ReportStepRequestSchema, StartSagaRequestSchema } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { CreateTemplateRequestSchema, ListTemplatesRequestSchema } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import {
  CreateWorkflowRequestSchema,
  GetExecutionRequestSchema,
  StartExecutionRequestSchema,
  TerminateExecutionRequestSchema,
  UpdateWorkflowRequestSchema,
  ValidateDefinitionRequestSchema,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";

const validator = createValidator();

function check(schema: DescMessage, json: JsonValue): readonly string[] {
  const result = validator.validate(schema, fromJson(schema, json));
  if (result.kind === "error") throw result.error;
  return (result.violations ?? []).map((violation) => violation.toString());
}

const definition: JsonValue = {
  dsl_version: "v1",
  input_schema: { type: "object", required: ["order"] },
  variables: { currency: "EUR", total: 0 },
  secret_slots: [{ name: "shop_key" }, { name: "slack" }],
  execution_timeout: "3600s",
  steps: [
    {
      name: "reserve",
      http_request: {
        method: "POST",
        url: "https://{{params.host}}/reserve",
        headers: { "X-Order": "{{trigger.data.order}}" },
        json: { order: "{{trigger.data.order}}" },
        auth: { bearer: { slot: "shop_key" } },
        success_statuses: ["2xx", "409"],
      },
      retry_policy: { initial_interval: "0.2s", maximum_attempts: 0, non_retryable_errors: ["HTTP.4xx", "WORKER.*"], jitter: 0 },
      timeouts: { start_to_close: "10s" },
      compensation: { step: { name: "release", http_request: { method: "DELETE", url: "{{original.result.body.href}}" } }, barrier: true },
      export: { reservation: "result.body.id" },
    },
    { name: "read_file", file_process: { source: { url: "{{trigger.data.file}}" }, extract: { target: "FILE_EXTRACT_TARGET_ROWS", delimiter: ";" } } },
    { name: "pause", run_if: "{{trigger.data.order > 10}}", delay: { duration: "0.5s" } },
    { name: "note", log: { level: "LOG_LEVEL_INFO", message: "order {{trigger.data.order}}" } },
    {
      name: "choose",
      conditional: { cases: [{ name: "big", when: "trigger.data.order > 100", steps: [{ name: "say_big", log: { message: "big" } }] }], else_steps: [] },
    },
    { name: "shape", data_transform: { input: [1, 2, 3], operations: [{ filter: "it > 1" }, { limit: 0 }], output: "{{input}}" } },
    { name: "tell", notification: { slack: { webhook_url: { slot: "slack" }, text: "done" }, best_effort: true } },
    { name: "loop", for_each: { items: "trigger.data.lines", max_parallel: 5, steps: [{ name: "one", worker_task: { task_type: "invoice.render" } }] } },
    {
      name: "both",
      parallel: {
        branches: [
          { name: "a", steps: [] },
          { name: "b", steps: [] },
        ],
        join: "JOIN_MODE_AT_LEAST",
        join_count: 1,
      },
    },
    { name: "call", grpc_call: { target: "dns:///orders:8080", participant: true } },
    {
      name: "wait",
      wait_for_event: { any_of: [{ event_type: "payment.settled", correlation_key: "{{trigger.data.order}}" }], timeout: "86400s" },
      on_error: { action: "ON_ERROR_ACTION_CONTINUE", catches: [{ errors: ["TIMEOUT.*"], steps: [] }] },
    },
  ],
  outputs: { reservation: "{{variables.reservation}}" },
};

describe("a request", () => {
  test.each<[string, DescMessage, JsonValue]>([
    ["definition with every kind of step", CreateWorkflowRequestSchema, { workflow: { name: "order-fulfilment", definition, labels: { team: "a" } } }],
    ["definition without steps", CreateWorkflowRequestSchema, { workflow: { name: "empty", definition: {} } }],
    ["update of one field only", UpdateWorkflowRequestSchema, { workflow: "order-fulfilment", changes: { description: "x" } }],
    ["start with the least", StartExecutionRequestSchema, { workflow: "wfl_01ARZ3NDEKTSV4RRFFQ69G5FAV" }],
    [
      "start with everything",
      StartExecutionRequestSchema,
      {
        workflow: "w",
        revision: 3,
        input: { a: 1 },
        execution_key: "order:42",
        conflict_policy: "CONFLICT_POLICY_RETURN_EXISTING",
        correlation_id: "c d",
        labels: { a: "" },
        priority: 9,
        start_delay: "60s",
        wait: "60s",
        request_id: "0190f3a2-0000-7000-8000-000000000000",
      },
    ],
    ["execution by key", GetExecutionRequestSchema, { execution_id: `key:${"k".repeat(128)}` }],
    ["page size above the maximum", ListTemplatesRequestSchema, { page_size: 5_000 }],
    [
      "template that inherits",
      CreateTemplateRequestSchema,
      {
        template: {
          name: "mine",
          base_template: { template: "http-request" },
          overrides: [
            { step: "call", patch: { description: "x" } },
            { step: "log", remove: true },
          ],
        },
      },
    ],
    [
      "saga of two participants",
      StartSagaRequestSchema,
      {
        steps: [
          {
            name: "charge",
            action: { http: { method: "POST", url: "https://pay/charge" } },
            compensation: { http: { method: "POST", url: "https://pay/refund" } },
          },
          { name: "ship", stage: 2, kind: "COMPENSATION_KIND_RETRIABLE", action: { pull: { task_type: "ship" } } },
        ],
        ttl: "600s",
        auto_complete: true,
      },
    ],
    ["self-driven step", EnlistStepRequestSchema, { saga_id: "exe_1", step: { name: "charge" }, self_driven: true }],
    [
      "heartbeat of a looped step",
      ReportStepRequestSchema,
      { saga_id: "exe_1", step: "orders[3]/charge", token: "t", result: { outcome: "OUTCOME_IN_PROGRESS", heartbeat_interval: "5s" } },
    ],
    ["definition full of mistakes, to be reported", ValidateDefinitionRequestSchema, { definition: { steps: [{ name: "9" }] } }],
  ])("is accepted: %s", (_, schema, json) => {
    expect(check(schema, json)).toEqual([]);
  });

  const withStep = (step: JsonValue): JsonValue => ({ workflow: { name: "w", definition: { steps: [step] } } });
  test.each<[string, DescMessage, JsonValue, string]>([
    ["no workflow named", StartExecutionRequestSchema, {}, "workflow:"],
    ["a NUL in an id", GetExecutionRequestSchema, { execution_id: "exe_\u0000" }, "execution_id:"],
    ["a wait above 60 s", StartExecutionRequestSchema, { workflow: "w", wait: "61s" }, "wait:"],
    ["a negative delay", StartExecutionRequestSchema, { workflow: "w", start_delay: "-1s" }, "start_delay:"],
    ["a priority above 9", StartExecutionRequestSchema, { workflow: "w", priority: 10 }, "priority:"],
    ["a key with a blank", StartExecutionRequestSchema, { workflow: "w", execution_key: "a b" }, "execution_key:"],
    ["an unknown enum number", StartExecutionRequestSchema, { workflow: "w", conflict_policy: 77 }, "conflict_policy:"],
    ["too long a request_id", StartExecutionRequestSchema, { workflow: "w", request_id: "x".repeat(37) }, "request_id:"],
    ["65 labels", StartExecutionRequestSchema, { workflow: "w", labels: Object.fromEntries([...Array(65).keys()].map((n) => [`k${n}`, ""])) }, "labels:"],
    ["a negative page size", ListTemplatesRequestSchema, { page_size: -1 }, "page_size:"],
    ["a termination without a reason", TerminateExecutionRequestSchema, { execution_id: "exe_1" }, "reason:"],
    ["a workflow without a name", CreateWorkflowRequestSchema, { workflow: { definition } }, "workflow:"],
    ["a workflow name in capitals", CreateWorkflowRequestSchema, { workflow: { name: "Order", definition } }, "workflow.name:"],
    ["a workflow without a definition", CreateWorkflowRequestSchema, { workflow: { name: "w" } }, "workflow:"],
    [
      "a control character in a display name",
      CreateWorkflowRequestSchema,
      { workflow: { name: "w", display_name: "a\u202Eb", definition } },
      "workflow.display_name:",
    ],
    ["a step without a kind", CreateWorkflowRequestSchema, withStep({ name: "a" }), "workflow.definition.steps[0].kind:"],
    ["a step called __proto__", CreateWorkflowRequestSchema, withStep({ name: "__proto__", log: {} }), "workflow.definition.steps[0].name:"],
    [
      "an unknown HTTP method",
      CreateWorkflowRequestSchema,
      withStep({ name: "a", http_request: { method: "TRACE", url: "http://x" } }),
      "http_request.method:",
    ],
    [
      "a header name with a line break",
      CreateWorkflowRequestSchema,
      withStep({ name: "a", http_request: { url: "http://x", headers: { "a\r\nb": "c" } } }),
      "http_request.headers",
    ],
    [
      "a key in header and query",
      CreateWorkflowRequestSchema,
      withStep({ name: "a", http_request: { url: "http://x", auth: { api_key: { header: "k", query_parameter: "k", value: { slot: "s" } } } } }),
      "auth.api_key:",
    ],
    [
      "a retry every millisecond",
      CreateWorkflowRequestSchema,
      withStep({ name: "a", log: {}, retry_policy: { initial_interval: "0.001s" } }),
      "retry_policy.initial_interval:",
    ],
    [
      "a backoff that is no number",
      CreateWorkflowRequestSchema,
      withStep({ name: "a", log: {}, retry_policy: { backoff_coefficient: "NaN" } }),
      "retry_policy.backoff_coefficient:",
    ],
    ["a delay of 366 days", CreateWorkflowRequestSchema, withStep({ name: "a", delay: { duration: "31622400s" } }), "delay.duration:"],
    [
      "a join of more branches than there are",
      CreateWorkflowRequestSchema,
      withStep({ name: "a", parallel: { branches: [{ name: "x" }], join: "JOIN_MODE_AT_LEAST", join_count: 2 } }),
      "parallel:",
    ],
    ["an e-mail to nobody", CreateWorkflowRequestSchema, withStep({ name: "a", notification: { email: { subject: "x" } } }), "notification.email:"],
    ["a gRPC call without a method", CreateWorkflowRequestSchema, withStep({ name: "a", grpc_call: { target: "dns:///x:1" } }), "grpc_call:"],
    [
      "a template with definition and base",
      CreateTemplateRequestSchema,
      { template: { name: "t", definition: {}, base_template: { template: "b" } } },
      "template:",
    ],
    ["a tag twice", CreateTemplateRequestSchema, { template: { name: "t", definition: {}, tags: ["a", "a"] } }, "template.tags:"],
    ["a called step without an endpoint", EnlistStepRequestSchema, { saga_id: "exe_1", step: { name: "charge" } }, "step.action is required"],
    ["a report without an outcome", ReportStepRequestSchema, { saga_id: "exe_1", step: "charge", token: "t", result: {} }, "result.outcome:"],
    ["a check of no definition", ValidateDefinitionRequestSchema, {}, "definition is required"],
  ])("is refused: %s", (_, schema, json, place) => {
    expect(check(schema, json).join("\n")).toContain(place);
  });
});

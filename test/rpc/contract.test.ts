/** Holds the contract (`proto/`) against the domain it mirrors, and shows that its rules compile and are complete. */
import { create, type DescEnum, type DescField, type DescMessage, type DescMethod, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { type ReflectList, type ReflectMap, reflect } from "@bufbuild/protobuf/reflect";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, test } from "vitest";
import { field as fieldRules, oneof as oneofRules } from "#gen/buf/validate/validate_pb.js";
import { http } from "#gen/google/api/annotations_pb.js";
import { AuditLevel, policy, RateClass } from "#gen/pyairtable/api/v1/options_pb.js";
import { AccessService } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { EndReasonSchema, ExecutionStateSchema, OperationStateSchema, SagaStateSchema, StepStateSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { ErrorReasonSchema } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { CompensationKindSchema } from "#gen/pyairtable/workflow/v1/policy_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SagaParticipant } from "#gen/pyairtable/workflow/v1/saga_participant_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { errorReasons } from "../../src/base/errors.ts";
import { eventTypes } from "../../src/domain/events.ts";
import { compensationKinds, endReasons, executionStates, operationStates, sagaStates, stepStates } from "../../src/domain/states.ts";

const validator = createValidator();
const services = [
  ...[TemplateService, WorkflowService, SagaCoordinationService, SagaParticipant],
  ...[SecretService, FileService, MonitoringService, AccessService],
];
const methods: readonly DescMethod[] = services.flatMap((service) => service.methods);

/** Every message of ours that the rpcs reach, directly or nested. */
function reachable(roots: readonly DescMessage[]): ReadonlySet<DescMessage> {
  const seen = new Set<DescMessage>();
  const visit = (message: DescMessage | undefined): void => {
    if (!message || seen.has(message) || !message.typeName.startsWith("pyairtable.")) return;
    seen.add(message);
    for (const field of message.fields) visit(field.message);
  };
  roots.forEach(visit);
  return seen;
}
const requests = reachable(methods.map((method) => method.input));
const messages = reachable([...methods, ...TaskService.methods].flatMap((method) => [method.input, method.output]));

/** A value for every field, so that no rule is skipped because its field is unset. Of each oneof only `choice` is set. */
function filled(message: DescMessage, choice: number, depth = 0): ReturnType<typeof reflect> {
  const target = reflect(message);
  for (const field of message.fields) {
    if (field.oneof && field.oneof.fields[choice % field.oneof.fields.length] !== field) continue;
    if (field.message && depth >= 3) continue;
    if (field.fieldKind === "list") (target.get(field) as ReflectList).add(element(field, choice, depth));
    else if (field.fieldKind === "map") (target.get(field) as ReflectMap).set("a", element(field, choice, depth));
    else target.set(field, element(field, choice, depth) as never);
  }
  return target;
}
function element(field: DescField, choice: number, depth: number): unknown {
  if (field.message) return filled(field.message, choice, depth + 1);
  if (field.enum) return field.enum.values.at(-1)?.number;
  switch (field.scalar) {
    case ScalarType.STRING:
      return "a";
    case ScalarType.BOOL:
      return true;
    case ScalarType.BYTES:
      return new Uint8Array(1);
    case ScalarType.INT64:
      return 1n;
    default:
      return 1;
  }
}

const valuesOf = (descriptor: DescEnum, prefix: string): string[] =>
  descriptor.values.filter((value) => value.number !== 0).map((value) => value.name.slice(prefix.length).toLowerCase());

describe("rules", () => {
  test("of every message compile and can be evaluated", () => {
    expect(messages.size).toBeGreaterThan(250);
    for (const message of messages) {
      for (let choice = 0; choice < 16; choice++) {
        const result = validator.validate(message, filled(message, choice).message);
        expect(result.kind === "error" ? `${message.typeName}: ${result.error.message}` : "evaluated").toBe("evaluated");
      }
      const empty = validator.validate(message, create(message));
      expect(empty.kind === "error" ? `${message.typeName}: ${empty.error.message}` : "evaluated").toBe("evaluated");
    }
  });

  test("stand on every string, list, map and duration that a caller can send", () => {
    const bare = [...requests].flatMap((message) =>
      message.fields
        .filter((field) => {
          const bounded =
            field.fieldKind === "list" ||
            field.fieldKind === "map" ||
            (field.fieldKind === "scalar" && field.scalar === ScalarType.STRING) ||
            (field.fieldKind === "message" && field.message.typeName === "google.protobuf.Duration");
          return bounded && !hasOption(field, fieldRules);
        })
        .map((field) => field.toString()),
    );
    expect(bare).toEqual([]);
  });

  test("stand on every enum that a caller can send, output-only ones excepted", () => {
    const outputOnly = new Set(["Template.state", "Workflow.state"].map((name) => `pyairtable.workflow.v1.${name}`));
    const bare = [...requests]
      .flatMap((message) => message.fields)
      .filter((field) => field.fieldKind === "enum" && !outputOnly.has(`${field.parent.typeName}.${field.name}`))
      .filter((field) => !getOption(field, fieldRules).type.case)
      .map((field) => field.toString());
    expect(bare).toEqual([]);
  });

  test("demand a choice in every oneof that a caller can send", () => {
    const free = [...requests]
      .flatMap((message) => message.oneofs)
      .filter((one) => !getOption(one, oneofRules).required)
      .map((one) => one.toString());
    // A request may have no body.
    expect(free).toEqual(["oneof pyairtable.workflow.v1.HttpRequestStep.body"]);
  });
});

describe("mirrors", () => {
  test("of the error reasons are complete", () => {
    expect(
      valuesOf(ErrorReasonSchema, "ERROR_REASON_")
        .map((name) => name.toUpperCase())
        .sort(),
    ).toEqual([...errorReasons].sort());
  });

  test("of the event list are complete, one message per event, from field 20 on", () => {
    const payload = ExecutionEventSchema.oneofs.find((one) => one.name === "payload");
    expect(payload?.fields.map((field) => field.name)).toEqual(eventTypes);
    for (const field of payload?.fields ?? []) {
      expect(field.number).toBeGreaterThanOrEqual(20);
      expect(field.message?.name).toBe(
        field.name
          .split("_")
          .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
          .join(""),
      );
    }
  });

  test.each([
    [ExecutionStateSchema, "EXECUTION_STATE_", executionStates],
    [SagaStateSchema, "SAGA_STATE_", sagaStates],
    [EndReasonSchema, "END_REASON_", endReasons],
    [StepStateSchema, "STEP_STATE_", stepStates],
    [OperationStateSchema, "OPERATION_STATE_", operationStates],
    [CompensationKindSchema, "COMPENSATION_KIND_", compensationKinds],
  ] as const)("of $0.name have the domain's words in the domain's order", (descriptor, prefix, words) => {
    expect(valuesOf(descriptor, prefix)).toEqual(words);
  });
});

describe("every rpc", () => {
  test.each(methods.map((method) => [`${method.parent.name}.${method.name}`, method] as const))(
    "%s says who may call it and how it is limited",
    (_, method) => {
      expect(hasOption(method, policy)).toBe(true);
      const { scopes, public: open, rateClass, audit, defaultDeadline } = getOption(method, policy);
      expect(scopes.length > 0 || open).toBe(true);
      for (const scope of scopes)
        expect(scope).toMatch(
          /^((templates|workflows|executions|sagas):read|(templates|workflows|sagas):write|executions:(start|control|operate)|sagas:operate|tasks:work|secrets:write|files:(read|write)|monitoring:read|access:admin|tenants:admin)$/,
        );
      expect(rateClass).not.toBe(RateClass.UNSPECIFIED);
      expect(audit).not.toBe(AuditLevel.UNSPECIFIED);
      expect(defaultDeadline === undefined).toBe(method.methodKind === "server_streaming");
    },
  );

  test("has a request and a response of its own", () => {
    for (const method of methods) {
      expect([method.input.name, method.output.name]).toEqual([`${method.name}Request`, `${method.name}Response`]);
    }
  });

  test("that changes something can be repeated by request_id, and those that only read are marked so", () => {
    const unnamed = methods
      .filter((method) => method.parent !== SagaParticipant && method.idempotency !== Idempotency.NO_SIDE_EFFECTS)
      .filter((method) => method.input.fields.every((field) => field.number !== 93))
      .map((method) => method.name);
    // These carry tokens, or a whole StartExecutionRequest, that do the same.
    expect(unnamed).toEqual(["StartExecutionAndWatch", "ReportStep", "BatchReportSteps"]);
    for (const method of methods) {
      const reads = /^(List|Get|Count|Watch|Wait|Diff|Resolve(?!Step)|Preview|Export|Explain|Validate|Test|Query|Read)/.test(method.name);
      expect([method.name, method.idempotency === Idempotency.NO_SIDE_EFFECTS]).toEqual([method.name, reads]);
    }
  });

  test("uses the high field numbers for what they mean everywhere", () => {
    const names = new Map([
      [90, "update_mask"],
      [91, "etag"],
      [92, "validate_only"],
      [93, "request_id"],
      [94, "view"],
    ]);
    for (const { input } of methods) {
      for (const field of input.fields) {
        if (field.number >= 90) expect([input.name, field.name]).toEqual([input.name, names.get(field.number)]);
        else expect([...names.values()]).not.toContain(field.name);
      }
    }
  });

  test("that the requirements reach over HTTP has its route", () => {
    const routes = methods
      .filter((method) => hasOption(method, http))
      .flatMap((method) => {
        const rule = getOption(method, http);
        return [rule, ...rule.additionalBindings].map((binding) => `${binding.pattern.case?.toUpperCase()} ${binding.pattern.value} ${method.name}`);
      });
    expect(routes).toEqual(
      expect.arrayContaining([
        "GET /api/v1/templates ListTemplates",
        "POST /api/v1/templates CreateTemplate",
        "GET /api/v1/templates/{template} GetTemplate",
        "PUT /api/v1/templates/{template} UpdateTemplate",
        "PATCH /api/v1/templates/{template} UpdateTemplate",
        "DELETE /api/v1/templates/{template} DeleteTemplate",
        "POST /api/v1/templates/create-workflow CreateWorkflowFromTemplate",
        "GET /api/v1/templates/categories ListTemplateCategories",
        "GET /api/v1/templates/{template}/usage-stats GetTemplateUsageStats",
        "GET /api/v1/workflows ListWorkflows",
        "POST /api/v1/workflows CreateWorkflow",
        "GET /api/v1/workflows/{workflow} GetWorkflow",
        "PUT /api/v1/workflows/{workflow} UpdateWorkflow",
        "DELETE /api/v1/workflows/{workflow} DeleteWorkflow",
        "POST /api/v1/workflows/{workflow}/execute StartExecution",
        "GET /api/v1/executions/{execution_id}/events ListExecutionEvents",
        "GET /api/v1/monitoring/status GetServiceStatus",
        "GET /api/v1/monitoring/metrics GetMetrics",
        "GET /api/v1/monitoring/executions/stats GetExecutionStats",
      ]),
    );
    expect(new Set(routes.map((route) => route.split(" ").slice(0, 2).join(" "))).size).toBe(routes.length);
  });
});

/** Times and masks that only binary can write: without the look here they reached code that writes JSON, and were INTERNAL. */
import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { StepSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { ExtendSagaRequestSchema } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { GetTemplateUsageStatsRequestSchema, ImportTemplatesRequestSchema } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { CreateWorkflowRequestSchema, UpdateWorkflowRequestSchema } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { findMessageFaults } from "../../src/rpc/interceptors/message-faults.ts";

const second = 1_000_000_000;

function waitInLoop(duration: { readonly seconds: bigint; readonly nanos: number }): Message {
  const delay = create(StepSchema, { name: "d", kind: { case: "delay", value: { wait: { case: "duration", value: duration } } } });
  const loop = create(StepSchema, { name: "l", kind: { case: "forEach", value: { items: "[1]", steps: [delay] } } });
  return create(CreateWorkflowRequestSchema, { workflow: { name: "w", definition: { steps: [loop] } } });
}

test.each<[string, DescMessage, Message, string, string]>([
  ["nanos of a second", ExtendSagaRequestSchema, create(ExtendSagaRequestSchema, { ttl: { seconds: 1n, nanos: second } }), "ttl", "VALIDATION_FAILED"],
  ["nanos of the other sign", ExtendSagaRequestSchema, create(ExtendSagaRequestSchema, { ttl: { seconds: 1n, nanos: -1 } }), "ttl", "VALIDATION_FAILED"],
  ["an age of the universe", ExtendSagaRequestSchema, create(ExtendSagaRequestSchema, { ttl: { seconds: 9223372036854775807n } }), "ttl", "VALIDATION_FAILED"],
  [
    "a wait deep in a definition",
    CreateWorkflowRequestSchema,
    waitInLoop({ seconds: 0n, nanos: 2 ** 31 - 1 }),
    "workflow.definition.steps[0].for_each.steps[0].delay.duration",
    "VALIDATION_FAILED",
  ],
  [
    "a moment after the year 9999",
    GetTemplateUsageStatsRequestSchema,
    create(GetTemplateUsageStatsRequestSchema, { template: "t", startTime: { seconds: 253402300800n } }),
    "start_time",
    "VALIDATION_FAILED",
  ],
  [
    "a moment with negative nanos",
    ImportTemplatesRequestSchema,
    create(ImportTemplatesRequestSchema, { bundle: { createTime: { seconds: 1n, nanos: -1 } } }),
    "bundle.create_time",
    "VALIDATION_FAILED",
  ],
  [
    "a path in camel case",
    UpdateWorkflowRequestSchema,
    create(UpdateWorkflowRequestSchema, { workflow: "w", changes: {}, updateMask: { paths: ["displayName"] } }),
    "update_mask",
    "FIELD_MASK_INVALID",
  ],
])("%s is refused with its path", (_name, desc, message, field, reason) => {
  expect(findMessageFaults(desc, message)).toEqual([{ field, reason, description: expect.any(String) }]);
});

test("times at their bounds are taken", () => {
  const stats = create(GetTemplateUsageStatsRequestSchema, { startTime: { seconds: -62135596800n }, endTime: { seconds: 253402300799n, nanos: second - 1 } });
  expect(findMessageFaults(GetTemplateUsageStatsRequestSchema, stats)).toEqual([]);
  for (const ttl of [
    { seconds: 0n, nanos: -1 },
    { seconds: 315576000000n, nanos: second - 1 },
  ]) {
    expect(findMessageFaults(ExtendSagaRequestSchema, create(ExtendSagaRequestSchema, { ttl }))).toEqual([]);
  }
});

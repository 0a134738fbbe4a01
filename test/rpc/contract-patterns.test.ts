/** The patterns of the contract mean the same to the language's engine, which checks them, as to RE2, which the contract names. */
import { type DescMessage, getOption, hasOption } from "@bufbuild/protobuf";
import { RE2JS } from "@bufbuild/re2";
import { expect, test } from "vitest";
import { type FieldRules, field as fieldRules } from "#gen/buf/validate/validate_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SagaParticipant } from "#gen/pyairtable/workflow/v1/saga_participant_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { fc } from "../support/property.ts";

const services = [TemplateService, WorkflowService, SagaCoordinationService, SagaParticipant, TaskService, SecretService, FileService];
const patterns = new Set<string>();
const seen = new Set<DescMessage>();
for (const method of services.flatMap((service) => service.methods)) visit(method.input);

function visit(message: DescMessage): void {
  if (seen.has(message)) return;
  seen.add(message);
  for (const field of message.fields) {
    if (hasOption(field, fieldRules)) collect(getOption(field, fieldRules));
    if (field.message) visit(field.message);
  }
}

function collect({ type }: FieldRules): void {
  if (type.case === "string" && type.value.pattern !== "") patterns.add(type.value.pattern);
  if (type.case === "repeated" && type.value.items) collect(type.value.items);
  if (type.case === "map") for (const rules of [type.value.keys, type.value.values]) if (rules) collect(rules);
}

const hostile = [
  "",
  "\n",
  "a\n",
  "\u0000",
  "a\u0000",
  "é",
  "a\u0301",
  "\u{1f600}",
  "\ud800",
  "\u202e",
  "\u2066",
  "\u0085",
  "]",
  "\\",
  "/",
  "-",
  "^",
  "4xx",
  "a/b",
  "a".repeat(63),
  "a".repeat(64),
  "a".repeat(65),
  "a".repeat(133),
];

test.each([...patterns])("%s", (pattern) => {
  const ours = new RegExp(pattern, "u");
  const theirs = RE2JS.compile(pattern);
  const same = (text: string): void => {
    expect([text, ours.test(text)]).toEqual([text, theirs.test(text)]);
  };
  for (const text of hostile) same(text);
  for (let code = 0; code < 0x180; code++)
    for (const text of [String.fromCharCode(code), `a${String.fromCharCode(code)}`, `4${String.fromCharCode(code)}x`]) same(text);
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(ours)), same));
});

test("each is anchored and repeats single characters only, so that no text takes long", () => {
  expect(patterns.size).toBeGreaterThan(10);
  for (const pattern of patterns) {
    expect(pattern).toMatch(/^\^.*\$$/s);
    // Without its classes there is no repetition inside of a repetition.
    expect(pattern.replace(/\[(?:\\.|[^\]\\])*\]/g, "c")).not.toMatch(/[*+}]\)(?:[*+]|\{)/);
  }
});

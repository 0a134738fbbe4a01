import { readdirSync, readFileSync } from "node:fs";
import { create, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { TemplateSchema, TemplateState, TemplateVersionSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { WorkflowRevisionSchema, WorkflowSchema } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import type { JsonObject } from "../../../src/base/json.ts";
import { definitionFromJson, definitionToJson } from "../../../src/rpc/wire/definition.ts";
import { categoriesToMessages, tagsToMessages, templateContentToJson, templateToMessage, templateVersionToMessage } from "../../../src/rpc/wire/template.ts";
import { revisionSummaryToMessage, revisionToMessage, workflowToMessage } from "../../../src/rpc/wire/workflow.ts";
import type { TemplateRecord } from "../../../src/store/template-row.ts";
import type { RevisionRecord, WorkflowRecord } from "../../../src/store/workflow-row.ts";

const begin = 1_900_000_000_000;
const definition: JsonObject = {
  dsl_version: "v1",
  input_schema: { type: "object", required: ["a"] },
  variables: { n: null, list: [1, "{{ trigger.data.a }}"] },
  steps: [
    {
      name: "call",
      run_if: "true",
      timeouts: { start_to_close: "1.500s" },
      http_request: { method: "HTTP_METHOD_POST", url: "https://example.com", max_response_bytes: "1000" },
    },
  ],
  execution_timeout: "3600s",
  on_failure: "FAILURE_POLICY_KEEP_EFFECTS",
};

describe("a definition", () => {
  const message = definitionFromJson(definition);

  it("comes back from the message as it was stored", () => {
    const sent = fromBinary(WorkflowDefinitionSchema, toBinary(WorkflowDefinitionSchema, message));
    expect(definitionToJson(sent)).toEqual(definition);
  });

  it("of a newer release is still read, without what is not known here", () => {
    expect(definitionToJson(definitionFromJson({ ...definition, sla: { soft: "1s" } }))).toEqual(definition);
  });
});

const folder = new URL("../../../templates/", import.meta.url);
describe.each(readdirSync(folder).filter((name) => name.endsWith(".json")))("the shipped template %s", (name) => {
  it("fits the contract's message and comes back unchanged", () => {
    const { parameters_schema, definition } = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as {
      parameters_schema: JsonObject;
      definition: JsonObject;
    };
    const message = templateToMessage(head, "full", { parameters_schema, definition });
    const content = templateContentToJson(fromBinary(TemplateSchema, toBinary(TemplateSchema, message)));
    expect(content["parameters_schema"]).toEqual(parameters_schema);
    expect(content["definition"]).toEqual(definitionToJson(fromJson(WorkflowDefinitionSchema, definition)));
  });
});

describe("a workflow", () => {
  const record: WorkflowRecord = {
    id: "wfl_1",
    name: "orders",
    displayName: "Orders",
    description: "d",
    state: "paused",
    activeRevision: 2,
    latestRevision: 3,
    previousRevision: 1,
    pausedStarts: "queue",
    labels: { a: "1" },
    annotations: { b: "2" },
    etag: "e",
    createdAt: begin,
    updatedAt: begin + 1_000,
    deletedAt: undefined,
  };
  const revision: RevisionRecord = {
    workflowId: "wfl_1",
    revision: 2,
    definition,
    digest: "ab",
    changeNote: "why",
    creator: "key_1",
    createdAt: begin,
    secretBindings: { token: "crm" },
    lineage: {
      templateId: "tpl_1",
      templateVersion: 5,
      parameters: { p: 1 },
      overrides: [
        { step: "call", remove: true },
        { step: "x", patch: { log: { message: "m" } } },
      ],
    },
  };

  it("shows its head, and definition, lineage and bindings of the revision it is given", () => {
    expect(toJson(WorkflowSchema, workflowToMessage(record, "full", revision), { useProtoFieldName: true })).toEqual({
      id: "wfl_1",
      name: "orders",
      display_name: "Orders",
      description: "d",
      state: "WORKFLOW_STATE_PAUSED",
      active_revision: 2,
      latest_revision: 3,
      definition,
      lineage: { template_id: "tpl_1", template_version: 5, parameters: { p: 1 }, secret_bindings: { token: "crm" }, overrides: revision.lineage?.overrides },
      secret_bindings: { token: "crm" },
      labels: { a: "1" },
      annotations: { b: "2" },
      etag: "e",
      create_time: "2030-03-17T17:46:40Z",
      update_time: "2030-03-17T17:46:41Z",
    });
    expect(workflowToMessage(record, "basic", revision)).toMatchObject({ lineage: { templateId: "tpl_1" } });
    expect(workflowToMessage(record, "basic", revision).definition).toBeUndefined();
    expect(workflowToMessage(record, "basic").lineage).toBeUndefined();
  });

  it("says until when it can be taken back once it is deleted", () => {
    const deleted = toJson(WorkflowSchema, workflowToMessage({ ...record, state: "deleted", deletedAt: begin }, "basic"), { useProtoFieldName: true });
    expect(deleted).toMatchObject({ state: "WORKFLOW_STATE_DELETED", delete_time: "2030-03-17T17:46:40Z", purge_time: "2030-04-16T17:46:40Z" });
  });

  it("has revisions that know whether they are the active one", () => {
    const message = fromBinary(WorkflowRevisionSchema, toBinary(WorkflowRevisionSchema, revisionToMessage(revision, 2, "full")));
    expect(message).toMatchObject({
      revision: 2,
      digest: "ab",
      note: "why",
      active: true,
      lineage: { templateVersion: 5, overrides: [{ step: "call" }, { step: "x" }] },
    });
    expect(definitionToJson(message.definition as NonNullable<typeof message.definition>)).toEqual(definition);
    expect(revisionToMessage(revision, 3, "basic")).toMatchObject({ active: false });
    expect(revisionToMessage(revision, 3, "basic").definition).toBeUndefined();
    const summary = {
      workflowId: "wfl_1",
      revision: 1,
      digest: "cd",
      changeNote: "n",
      creator: "key_1",
      templateId: undefined,
      templateVersion: undefined,
      createdAt: begin,
    };
    expect(revisionSummaryToMessage(summary, 1)).toMatchObject({ revision: 1, active: true, note: "n" });
    expect(revisionSummaryToMessage(summary, 1).lineage).toBeUndefined();
    expect(revisionSummaryToMessage({ ...summary, templateId: "tpl_1", templateVersion: 2 }, 7)).toMatchObject({
      active: false,
      lineage: { templateId: "tpl_1", templateVersion: 2 },
    });
  });
});

const head: TemplateRecord = {
  id: "tpl_1",
  name: "sync",
  displayName: "Sync",
  description: "d",
  category: "sync",
  tags: ["a", "b"],
  state: "published",
  builtIn: true,
  latestVersion: 2,
  draft: undefined,
  labels: { x: "1" },
  etag: "e",
  createdAt: begin,
  updatedAt: begin,
  deletedAt: undefined,
};

describe("a template", () => {
  const content: JsonObject = {
    parameters_schema: { type: "object" },
    definition,
    base_template: { template: "base", version: 3 },
    overrides: [{ step: "call", patch: { run_if: "false" } }],
    parameter_defaults: { url: "https://example.com" },
  };

  it("shows its head and its content, and gives the content back for storing", () => {
    const message = fromBinary(TemplateSchema, toBinary(TemplateSchema, templateToMessage(head, "full", content)));
    expect(message).toMatchObject({
      id: "tpl_1",
      name: "sync",
      state: TemplateState.PUBLISHED,
      builtIn: true,
      latestVersion: 2,
      tags: ["a", "b"],
      labels: { x: "1" },
      parameterDefaults: content["parameter_defaults"],
    });
    expect(templateContentToJson(message)).toEqual(content);
  });

  it("has no definition in the basic view, and only its head without content", () => {
    expect(templateToMessage(head, "basic", content)).toMatchObject({ parametersSchema: { type: "object" } });
    expect(templateToMessage(head, "basic", content).definition).toBeUndefined();
    expect(templateContentToJson(templateToMessage(head, "full"))).toEqual({});
    expect(templateContentToJson(create(TemplateSchema, { name: "x", labels: { a: "1" } }))).toEqual({});
  });

  it("has versions with a snapshot in the full view", () => {
    const version = {
      templateId: "tpl_1",
      version: 1,
      content,
      resolved: undefined,
      digest: "ab",
      changeNote: "first",
      publisher: "key_1",
      publishedAt: begin,
    };
    const message = templateVersionToMessage(version, head, "full");
    expect(toJson(TemplateVersionSchema, message, { useProtoFieldName: true })).toMatchObject({
      template_id: "tpl_1",
      version: 1,
      digest: "ab",
      change_note: "first",
      publisher: "key_1",
      publish_time: "2030-03-17T17:46:40Z",
      snapshot: { name: "sync", latest_version: 1, definition },
    });
    expect(templateVersionToMessage(version, head, "basic").snapshot).toBeUndefined();
  });

  it("is counted by category, the well-known ones first, and by its tags, the most used first", () => {
    expect(
      categoriesToMessages([
        { name: "zoo", count: 1 },
        { name: "sync", count: 4 },
        { name: "art", count: 2 },
      ]).map(({ category, templateCount }) => [category, templateCount]),
    ).toEqual([
      ["integration", 0],
      ["file-processing", 0],
      ["sync", 4],
      ["automation", 0],
      ["notification", 0],
      ["art", 2],
      ["zoo", 1],
    ]);
    expect(
      tagsToMessages([
        { name: "c", count: 1 },
        { name: "b", count: 1 },
        { name: "a", count: 0 },
        { name: "z", count: 9 },
      ]).map(({ tag }) => tag),
    ).toEqual(["z", "b", "c", "a"]);
    expect(tagsToMessages(Array.from({ length: 300 }, (_, index) => ({ name: `t${index}`, count: index })))).toHaveLength(200);
  });
});

/** `pawf workflow list | describe` and `pawf template list | describe`. */

import type { WorkflowDefinition } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { TemplateSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { WorkflowSchema } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import type { Command, Option } from "../command.ts";
import { exit } from "../exit-codes.ts";
import { listOptions, plainJson, printList, printOne } from "../show.ts";
import { outlineOf } from "../step-outline.ts";
import { factLines } from "../table.ts";

const filters: Readonly<Record<string, Option>> = {
  filter: { kind: "text", value: "FILTER", about: "for example 'name = \"order*\"'" },
  "order-by": { kind: "text", value: "FIELD", about: "name, create_time or update_time, with ' desc' [create_time desc]" },
  deleted: { kind: "flag", about: "also deleted ones" },
};

export const definitionCommands: readonly Command[] = [
  {
    words: "workflow list",
    operands: [],
    about: "workflows, newest first",
    options: { ...filters, ...listOptions },
    examples: ["pawf workflow list --filter 'state = ACTIVE'"],
    async run(call) {
      const { args, connection, signal } = call;
      const columns = [
        { head: "name", path: "name" },
        { head: "state", path: "state", prefix: "WORKFLOW_STATE_" },
        { head: "active", path: "active_revision" },
        { head: "latest", path: "latest_revision" },
        { head: "id", path: "id" },
      ];
      await printList(call, { name: "workflows", schema: WorkflowSchema, columns }, async (pageSize, pageToken) => {
        const request = { pageSize, pageToken, filter: args.text("filter"), orderBy: args.text("order-by"), showDeleted: args.flag("deleted") };
        const page = await connection.workflows.listWorkflows(request, { signal });
        return { items: page.workflows, nextPageToken: page.nextPageToken };
      });
      return exit.ok;
    },
  },
  {
    words: "workflow describe",
    operands: ["WORKFLOW"],
    about: "one workflow with its steps; -o json gives what apply takes",
    options: {},
    examples: ["pawf workflow describe hello"],
    async run(call) {
      const { workflow } = await call.connection.workflows.getWorkflow({ workflow: call.args.text("WORKFLOW"), view: View.FULL }, { signal: call.signal });
      if (!workflow) return exit.failed;
      printOne(call, WorkflowSchema, workflow, () => describe(plainJson(WorkflowSchema, workflow), workflow.definition, workflowFacts));
      return exit.ok;
    },
  },
  {
    words: "template list",
    operands: [],
    about: "templates, newest first",
    options: { ...filters, ...listOptions },
    examples: ["pawf template list --filter 'category = \"sync\"'"],
    async run(call) {
      const { args, connection, signal } = call;
      const columns = [
        { head: "name", path: "name" },
        { head: "category", path: "category" },
        { head: "version", path: "latest_version" },
        { head: "state", path: "state", prefix: "TEMPLATE_STATE_" },
        { head: "built in", path: "built_in" },
        { head: "title", path: "display_name" },
      ];
      await printList(call, { name: "templates", schema: TemplateSchema, columns }, async (pageSize, pageToken) => {
        const request = { pageSize, pageToken, filter: args.text("filter"), orderBy: args.text("order-by"), showDeleted: args.flag("deleted") };
        const page = await connection.templates.listTemplates(request, { signal });
        return { items: page.templates, nextPageToken: page.nextPageToken };
      });
      return exit.ok;
    },
  },
  {
    words: "template describe",
    operands: ["TEMPLATE"],
    about: "one template with its parameters and steps",
    options: { version: { kind: "count", about: "this published version [the head]" } },
    examples: ["pawf template describe multi-step-integration"],
    async run(call) {
      const { args, connection, signal } = call;
      const { template } = await connection.templates.getTemplate(
        { template: args.text("TEMPLATE"), version: args.count("version"), view: View.FULL },
        { signal },
      );
      if (!template) return exit.failed;
      printOne(call, TemplateSchema, template, () => describe(plainJson(TemplateSchema, template), template.definition, templateFacts));
      return exit.ok;
    },
  },
];

const workflowFacts = [
  "id",
  "state",
  "active_revision",
  "latest_revision",
  "display_name",
  "description",
  "labels",
  "secret_bindings",
  "lineage",
  "update_time",
  "delete_time",
];
const templateFacts = [
  "id",
  "state",
  "latest_version",
  "built_in",
  "display_name",
  "description",
  "category",
  "tags",
  "base_template",
  "parameters_schema",
  "update_time",
];

function describe(json: ReturnType<typeof plainJson>, definition: WorkflowDefinition | undefined, facts: readonly string[]): string[] {
  const steps = [...outlineOf(definition).values()];
  const depthOf = (name: string): number => {
    const parent = steps.find((step) => step.name === name)?.parent ?? "";
    return parent === "" ? 0 : depthOf(parent) + 1;
  };
  return [
    String(json["name"]),
    ...factLines([...facts.map((name) => [name, name === "lineage" ? lineageOf(json) : json[name]] as const), ["input_schema", inputSchemaOf(json)]]),
    ...(steps.length > 0 ? ["", "steps", ...steps.map(({ name, type }) => `  ${"  ".repeat(depthOf(name))}${name}  ${type}`)] : []),
  ];
}

function lineageOf(json: ReturnType<typeof plainJson>) {
  const lineage = json["lineage"] as { template_id?: string; template_version?: number } | undefined;
  return lineage ? `${lineage.template_id} version ${lineage.template_version}` : undefined;
}

function inputSchemaOf(json: ReturnType<typeof plainJson>) {
  return (json["definition"] as { input_schema?: ReturnType<typeof plainJson> } | undefined)?.input_schema;
}

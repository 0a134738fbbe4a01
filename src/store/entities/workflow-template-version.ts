/** One published version of a template. Never changed after its insert. */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";
import type { BaseReference } from "./workflow-template.ts";

export const workflowTemplateVersionSchema = defineEntity({
  name: "WorkflowTemplateVersion",
  tableName: "workflow_template_versions",
  indexes: [{ name: "workflow_template_versions_bases_idx", properties: ["bases"], type: "gin" }],
  properties: {
    tenantId: p.text().primary(),
    templateId: p.uuid().primary(),
    version: p.integer().primary(),
    content: p.json<JsonObject>().columnType("json"),
    resolved: p.json<JsonObject>().columnType("json").nullable(),
    bases: p.json<readonly BaseReference[]>().defaultRaw("'[]'"),
    digest: p.text(),
    changeNote: p.text().default(""),
    publisher: p.text().default(""),
    publishTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class WorkflowTemplateVersion extends workflowTemplateVersionSchema.class {}
workflowTemplateVersionSchema.setClass(WorkflowTemplateVersion);

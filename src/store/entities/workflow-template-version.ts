/** One published version of a template. Never changed after its insert. */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";

export const workflowTemplateVersionSchema = defineEntity({
  name: "WorkflowTemplateVersion",
  tableName: "workflow_template_versions",
  properties: {
    tenantId: p.text().primary(),
    templateId: p.uuid().primary(),
    version: p.integer().primary(),
    content: p.json<JsonObject>().columnType("json"),
    digest: p.text(),
    changeNote: p.text().default(""),
    publisher: p.text().default(""),
    publishTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class WorkflowTemplateVersion extends workflowTemplateVersionSchema.class {}
workflowTemplateVersionSchema.setClass(WorkflowTemplateVersion);

/** One immutable revision of a workflow, with its lineage: the template version, parameters and overrides it was rendered from. */
import { defineEntity, p } from "@mikro-orm/core";
import type { Json, JsonObject } from "../../base/json.ts";

export const workflowRevisionSchema = defineEntity({
  name: "WorkflowRevision",
  tableName: "workflow_revisions",
  indexes: [
    {
      name: "workflow_revisions_template_idx",
      properties: ["tenantId", "templateId", "templateVersion", "workflowId", "revision"],
      where: "template_id is not null",
    },
  ],
  properties: {
    tenantId: p.text().primary(),
    workflowId: p.uuid().primary(),
    revision: p.integer().primary(),
    definition: p.json<JsonObject>().columnType("json"),
    digest: p.text(),
    changeNote: p.text().default(""),
    templateId: p.uuid().nullable(),
    templateVersion: p.integer().nullable(),
    parameters: p.json<JsonObject>().columnType("json").nullable(),
    overrides: p.json<Json>().columnType("json").nullable(),
    secretBindings: p.json<Record<string, string>>().defaultRaw("'{}'"),
    creator: p.text().default(""),
    createTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class WorkflowRevision extends workflowRevisionSchema.class {}
workflowRevisionSchema.setClass(WorkflowRevision);

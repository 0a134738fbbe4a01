/** The head of a template: what changes. What a version holds never does (see `workflow-template-version.ts`). */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";

export const templateStates = ["draft", "published", "deprecated", "deleted"] as const;
export type TemplateStatus = (typeof templateStates)[number];

/** One template above another: its uuid and the version that is inherited from. */
export interface BaseReference {
  readonly id: string;
  readonly version: number;
}

export const workflowTemplateSchema = defineEntity({
  name: "WorkflowTemplate",
  tableName: "workflow_templates",
  uniques: [{ name: "workflow_templates_name_key", properties: ["tenantId", "name"], where: "delete_time is null" }],
  indexes: [
    { name: "workflow_templates_bases_idx", properties: ["bases"], type: "gin" },
    { name: "workflow_templates_update_idx", properties: ["tenantId", "updateTime", "id"] },
    { name: "workflow_templates_delete_idx", properties: ["deleteTime", "tenantId", "id"], where: "delete_time is not null" },
    { name: "workflow_templates_category_idx", properties: ["tenantId", "category", "id"] },
  ],
  properties: {
    tenantId: p.text().primary(),
    id: p.uuid().primary(),
    name: p.text(),
    displayName: p.text().default(""),
    description: p.text().default(""),
    category: p.text(),
    tags: p.array().columnType("text[]").default([]),
    state: p.enum(templateStates),
    builtIn: p.boolean().default(false),
    latestVersion: p.integer().default(0),
    draft: p.json<JsonObject>().columnType("json").nullable(),
    bases: p.json<readonly BaseReference[]>().defaultRaw("'[]'"),
    labels: p.json<Record<string, string>>().defaultRaw("'{}'"),
    etag: p.text(),
    createTime: p.datetime(3).defaultRaw("now()"),
    updateTime: p.datetime(3).defaultRaw("now()"),
    deleteTime: p.datetime(3).nullable(),
  },
});

export class WorkflowTemplate extends workflowTemplateSchema.class {}
workflowTemplateSchema.setClass(WorkflowTemplate);

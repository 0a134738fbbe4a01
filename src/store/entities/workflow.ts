/** The head of a workflow: what changes. What runs is a revision (see `workflow-revision.ts`). */
import { defineEntity, p } from "@mikro-orm/core";

export const workflowStates = ["draft", "active", "paused", "deleted"] as const;
export type WorkflowStatus = (typeof workflowStates)[number];

export const workflowSchema = defineEntity({
  name: "Workflow",
  tableName: "workflows",
  uniques: [{ name: "workflows_name_key", properties: ["tenantId", "name"], where: "delete_time is null" }],
  indexes: [
    { name: "workflows_update_idx", properties: ["tenantId", "updateTime", "id"] },
    { name: "workflows_delete_idx", properties: ["deleteTime", "tenantId", "id"], where: "delete_time is not null" },
  ],
  properties: {
    tenantId: p.text().primary(),
    id: p.uuid().primary(),
    name: p.text(),
    displayName: p.text().default(""),
    description: p.text().default(""),
    state: p.enum(workflowStates),
    activeRevision: p.integer().default(0),
    latestRevision: p.integer().default(0),
    /** Active before the present one; what a rollback goes to. 0: there was none. */
    previousRevision: p.integer().default(0),
    /** What a paused workflow does with new starts: `queue` or `reject`. */
    pausedStarts: p.text().default("queue"),
    pauseReason: p.text().default(""),
    labels: p.json<Record<string, string>>().defaultRaw("'{}'"),
    annotations: p.json<Record<string, string>>().defaultRaw("'{}'"),
    etag: p.text(),
    createTime: p.datetime(3).defaultRaw("now()"),
    updateTime: p.datetime(3).defaultRaw("now()"),
    deleteTime: p.datetime(3).nullable(),
  },
});

export class Workflow extends workflowSchema.class {}
workflowSchema.setClass(Workflow);

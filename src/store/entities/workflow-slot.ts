/** An execution that runs, or waits for room, under its workflow's concurrency limit. */
import { defineEntity, p } from "@mikro-orm/core";

export const workflowSlotSchema = defineEntity({
  name: "WorkflowSlot",
  tableName: "workflow_slots",
  properties: {
    tenantId: p.text().primary(),
    workflowId: p.uuid().primary(),
    groupKey: p.text().primary(),
    executionId: p.uuid().primary(),
    running: p.boolean(),
    /** It was told that it may begin; those that had room at once need no telling. */
    released: p.boolean(),
    maxRunning: p.integer(),
    /** While it waits, those that run are canceled. */
    cancelRunning: p.boolean().default(false),
    createTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class WorkflowSlot extends workflowSlotSchema.class {}
workflowSlotSchema.setClass(WorkflowSlot);

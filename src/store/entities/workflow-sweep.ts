/** A command for all open executions of a workflow, carried out in batches. */
import { defineEntity, p } from "@mikro-orm/core";

export const workflowSweepSchema = defineEntity({
  name: "WorkflowSweep",
  tableName: "workflow_sweeps",
  indexes: [{ name: "workflow_sweeps_due_idx", properties: ["dueAt"] }],
  properties: {
    tenantId: p.text().primary(),
    workflowId: p.uuid().primary(),
    id: p.uuid().primary(),
    /** pause, resume, release or cancel. */
    command: p.text(),
    actor: p.text(),
    reason: p.text().default(""),
    /** Executions up to this one have got the command. */
    afterId: p.uuid().nullable(),
    doneCount: p.integer().default(0),
    /** How often it went through all of them. */
    passes: p.integer().default(0),
    /** When somebody goes on with it: the end of the claim of whoever is at it. */
    dueAt: p.datetime().columnType("timestamptz").defaultRaw("now()"),
  },
});

export class WorkflowSweep extends workflowSweepSchema.class {}
workflowSweepSchema.setClass(WorkflowSweep);

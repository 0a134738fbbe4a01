/** The saga view of an execution; its id is the execution's id. Written by the journal in plain SQL only. */
import { defineEntity, p } from "@mikro-orm/core";
import { sagaStates } from "../../domain/states.ts";

export const workflowInstanceSchema = defineEntity({
  name: "WorkflowInstance",
  tableName: "workflow_instances",
  indexes: [
    { name: "workflow_instances_participants_idx", properties: ["tenantId", "id"], where: "participants is not null" },
    { name: "workflow_instances_notice_idx", properties: ["noticeAt"], where: "notice_at is not null" },
  ],
  properties: {
    tenantId: p.text().primary(),
    id: p.uuid().primary(),
    state: p.enum(sagaStates),
    endReason: p.text().nullable(),
    paused: p.boolean().default(false),
    openSteps: p.integer().default(0),
    participants: p.array().columnType("text[]").nullable(),
    expireTime: p.datetime(3).nullable(),
    createTime: p.datetime(3),
    updateTime: p.datetime(3),
    endTime: p.datetime(3).nullable(),
    noticeAt: p.datetime(3).nullable(),
    noticeAttempts: p.integer().default(0),
  },
});

export class WorkflowInstance extends workflowInstanceSchema.class {}
workflowInstanceSchema.setClass(WorkflowInstance);

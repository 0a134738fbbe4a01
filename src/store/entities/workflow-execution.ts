/** One run. Written by the journal in plain SQL only; here for the schema and for what operators look up. */
import { defineEntity, p } from "@mikro-orm/core";
import type { Json, JsonObject } from "../../base/json.ts";
import { executionStates } from "../../domain/states.ts";

export const workflowExecutionSchema = defineEntity({
  name: "WorkflowExecution",
  tableName: "workflow_executions",
  uniques: [
    { name: "workflow_executions_request_key", properties: ["tenantId", "requestId"], where: "request_id is not null" },
    { name: "workflow_executions_open_key", properties: ["tenantId", "executionKey"], where: "execution_key is not null and end_time is null" },
  ],
  indexes: [
    { name: "workflow_executions_due_idx", properties: ["tenantId", "wakeAt"], where: "owner is null and wake_at is not null" },
    { name: "workflow_executions_owner_idx", properties: ["owner"], where: "owner is not null" },
    { name: "workflow_executions_correlation_idx", properties: ["tenantId", "correlationId"], where: "correlation_id is not null" },
    { name: "workflow_executions_workflow_idx", properties: ["tenantId", "workflowId", "id"], where: "workflow_id is not null" },
    { name: "workflow_executions_open_idx", properties: ["tenantId", "id"], where: "end_time is null" },
    { name: "workflow_executions_end_idx", properties: ["tenantId", "endTime", "id"], where: "end_time is not null" },
    { name: "workflow_executions_stuck_idx", properties: ["tenantId", "id"], where: "state = 'stuck'" },
    { name: "workflow_executions_key_idx", properties: ["tenantId", "executionKey", "id"], where: "execution_key is not null" },
    { name: "workflow_executions_parent_idx", properties: ["tenantId", "parentExecutionId", "id"], where: "parent_execution_id is not null" },
  ],
  properties: {
    tenantId: p.text().primary(),
    id: p.uuid().primary(),
    workflowId: p.uuid().nullable(),
    workflowName: p.text(),
    revision: p.integer(),
    state: p.enum(executionStates),
    endReason: p.text().nullable(),
    input: p.json<Json>().columnType("json").nullable(),
    output: p.json<Json>().columnType("json").nullable(),
    failure: p.json<JsonObject>().columnType("json").nullable(),
    failedStep: p.text().nullable(),
    standingEffects: p.array().columnType("text[]").nullable(),
    variables: p.json<JsonObject>().columnType("json").nullable(),
    executionKey: p.text().nullable(),
    requestId: p.text().nullable(),
    requestHash: p.blob().nullable(),
    correlationId: p.text(),
    labels: p.json<Record<string, string>>().defaultRaw("'{}'"),
    priority: p.smallint().default(5),
    paused: p.boolean().default(false),
    parentExecutionId: p.uuid().nullable(),
    rootExecutionId: p.uuid().nullable(),
    rerunOf: p.uuid().nullable(),
    traceparent: p.text().nullable(),
    lastSequence: p.integer(),
    owner: p.uuid().nullable(),
    wakeAt: p.datetime(3).nullable(),
    createTime: p.datetime(3),
    startTime: p.datetime(3).nullable(),
    endTime: p.datetime(3).nullable(),
  },
});

export class WorkflowExecution extends workflowExecutionSchema.class {}
workflowExecutionSchema.setClass(WorkflowExecution);

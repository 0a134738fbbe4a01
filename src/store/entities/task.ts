/** An operation that a worker has or shall take. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";
import type { Json, JsonObject } from "../../base/json.ts";
import { operations } from "../../domain/task-token.ts";

export const taskSchema = defineEntity({
  name: "Task",
  tableName: "tasks",
  checks: [{ name: "tasks_operation_check", expression: `operation in (${operations.map((word) => `'${word}'`).join(", ")})` }],
  indexes: [
    { name: "tasks_waiting_idx", properties: ["tenantId", "queue", "sortTime"], where: "worker is null" },
    { name: "tasks_expire_idx", properties: ["expireTime"], where: "expire_time is not null" },
    { name: "tasks_execution_idx", properties: ["tenantId", "executionId"], where: "execution_id is not null" },
  ],
  properties: {
    tenantId: p.text().primary(),
    id: p.uuid().primary(),
    executionId: p.uuid(),
    stepPath: p.text(),
    operation: p.text(),
    generation: p.integer().default(0),
    attempt: p.integer(),
    queue: p.text(),
    taskType: p.text(),
    requiredLabels: p.json<JsonObject>().defaultRaw("'{}'"),
    sortTime: p.datetime(3),
    idempotencyKey: p.text(),
    input: p.json<JsonObject>().columnType("json"),
    actionOutput: p.json<Json>().columnType("json").nullable(),
    mayNotHaveRun: p.boolean().default(false),
    correlationId: p.text().default(""),
    traceparent: p.text().default(""),
    tracestate: p.text().nullable(),
    baggage: p.text().nullable(),
    closeMs: p.integer(),
    heartbeatMs: p.integer().nullable(),
    createTime: p.datetime(3),
    worker: p.text().nullable(),
    session: p.uuid().nullable(),
    takeTime: p.datetime(3).nullable(),
    deadlineTime: p.datetime(3).nullable(),
    expireTime: p.datetime(3).nullable(),
    cancelRequested: p.boolean().default(false),
    progressTime: p.datetime(3).nullable(),
    startBefore: p.datetime(3).nullable(),
  },
});

export class Task extends taskSchema.class {}
taskSchema.setClass(Task);

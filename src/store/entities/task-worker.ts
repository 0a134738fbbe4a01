/** Who polls task queues. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";

export const taskWorkerSchema = defineEntity({
  name: "TaskWorker",
  tableName: "task_workers",
  properties: {
    tenantId: p.text().primary(),
    worker: p.text().primary(),
    queues: p.array().columnType("text[]"),
    taskTypes: p.array().columnType("text[]").default([]),
    labels: p.json<JsonObject>().defaultRaw("'{}'"),
    startTime: p.datetime(3).defaultRaw("now()"),
    seenTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class TaskWorker extends taskWorkerSchema.class {}
taskWorkerSchema.setClass(TaskWorker);

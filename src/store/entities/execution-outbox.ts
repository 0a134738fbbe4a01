/** A command of one execution for another one. Written by the journal in plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";

export const executionOutboxSchema = defineEntity({
  name: "ExecutionOutbox",
  tableName: "execution_outbox",
  indexes: [{ name: "execution_outbox_attempt_idx", properties: ["attemptTime"] }],
  properties: {
    tenantId: p.text().primary(),
    executionId: p.uuid().primary(),
    senderId: p.uuid().primary(),
    sequence: p.integer().primary(),
    command: p.json<JsonObject>().columnType("json"),
    attemptedBy: p.uuid(),
    attemptTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class ExecutionOutbox extends executionOutboxSchema.class {}
executionOutboxSchema.setClass(ExecutionOutbox);

/** One line of the ledger. Written by the journal in plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";

export const executionEventSchema = defineEntity({
  name: "ExecutionEvent",
  tableName: "execution_events",
  indexes: [
    { name: "execution_events_reopened_idx", properties: ["tenantId", "executionId", "sequence"], where: "type = 'execution_reopened'" },
    {
      name: "execution_events_audit_idx",
      properties: ["tenantId", "at"],
      where:
        "type in ('operator_acted', 'execution_paused', 'execution_resumed', 'execution_cancel_requested', 'execution_reopened', 'saga_state_changed', 'step_enlisted', 'step_skipped')",
    },
  ],
  properties: {
    tenantId: p.text().primary(),
    executionId: p.uuid().primary(),
    sequence: p.integer().primary(),
    type: p.text(),
    stepPath: p.text(),
    attempt: p.integer(),
    at: p.datetime(3),
    payload: p.json<JsonObject>().columnType("json"),
  },
});

export class ExecutionEvent extends executionEventSchema.class {}
executionEventSchema.setClass(ExecutionEvent);

/** One line of the audit log. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";

export const auditLineSchema = defineEntity({
  name: "AuditLine",
  tableName: "audit_log",
  indexes: [{ name: "audit_log_time_idx", properties: ["tenantId", "time"] }],
  // Its text stands in the migration; what the database has of it cannot be compared.
  triggers: [{ name: "audit_log_append_only", timing: "before", events: ["update", "delete"], expression: "create trigger audit_log_append_only" }],
  properties: {
    tenantId: p.text().primary(),
    id: p.text().primary(),
    time: p.datetime(3).defaultRaw("now()"),
    actor: p.text(),
    method: p.text(),
    target: p.text().default(""),
    executionId: p.uuid().nullable(),
    stepPath: p.text().default(""),
    reason: p.text().default(""),
    correlationId: p.text().default(""),
    /** Transaction that wrote it; of a line that was moved here, that of its event. */
    xid: p.bigint("number").nullable(),
    detail: p.json<JsonObject>().columnType("json").nullable(),
  },
});

export class AuditLine extends auditLineSchema.class {}
auditLineSchema.setClass(AuditLine);

/** An event that an open wait can end with. Written by the journal in plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";

export const eventWaitSchema = defineEntity({
  name: "EventWait",
  tableName: "event_waits",
  indexes: [{ name: "event_waits_event_idx", properties: ["tenantId", "eventType", "correlationKey"], where: "correlation_key is not null" }],
  properties: {
    tenantId: p.text().primary(),
    executionId: p.uuid().primary(),
    stepPath: p.text().primary(),
    attempt: p.integer().primary(),
    position: p.integer().primary(),
    eventType: p.text(),
    correlationKey: p.text().nullable(),
  },
});

export class EventWait extends eventWaitSchema.class {}
eventWaitSchema.setClass(EventWait);

/** An event for one execution or published under a key. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";
import type { Json } from "../../base/json.ts";

export const signalSchema = defineEntity({
  name: "Signal",
  tableName: "signals",
  uniques: [
    {
      name: "signals_execution_dedup_key",
      properties: ["tenantId", "executionId", "dedupId"],
      where: "execution_id is not null and dedup_id is not null",
    },
    { name: "signals_dedup_key", properties: ["tenantId", "dedupId"], where: "execution_id is null and dedup_id is not null" },
  ],
  indexes: [
    { name: "signals_execution_idx", properties: ["tenantId", "executionId", "createTime"], where: "execution_id is not null and not taken" },
    {
      name: "signals_event_idx",
      properties: ["tenantId", "eventType", "correlationKey", "createTime"],
      where: "execution_id is null and correlation_key is not null",
    },
    { name: "signals_undelivered_idx", properties: ["attemptTime"], where: "not delivered" },
    { name: "signals_purge_idx", properties: ["tenantId", "purgeTime"], where: "purge_time is not null" },
  ],
  properties: {
    tenantId: p.text().primary(),
    id: p.uuid().primary(),
    executionId: p.uuid().nullable(),
    eventType: p.text(),
    correlationKey: p.text().nullable(),
    data: p.json<Json>().columnType("json"),
    dedupId: p.text().nullable(),
    matched: p.integer().default(0),
    delivered: p.boolean().default(false),
    attemptedBy: p.uuid(),
    attemptTime: p.datetime(3).defaultRaw("now()"),
    taken: p.boolean().default(false),
    createTime: p.datetime(3).defaultRaw("now()"),
    expireTime: p.datetime(3),
    purgeTime: p.datetime(3),
  },
});

export class Signal extends signalSchema.class {}
signalSchema.setClass(Signal);

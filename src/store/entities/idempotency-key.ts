/** The answer of a mutation by its request id. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";
import type { Json } from "../../base/json.ts";

export const idempotencyKeySchema = defineEntity({
  name: "IdempotencyKey",
  tableName: "idempotency_keys",
  indexes: [{ name: "idempotency_keys_create_idx", properties: ["createTime"] }],
  properties: {
    tenantId: p.text().primary(),
    method: p.text().primary(),
    requestId: p.text().primary(),
    fingerprint: p.blob(),
    holder: p.uuid(),
    claimTime: p.datetime(3).defaultRaw("now()"),
    response: p.blob().nullable(),
    plan: p.json<Json>().columnType("json").nullable(),
    createTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class IdempotencyKey extends idempotencyKeySchema.class {}
idempotencyKeySchema.setClass(IdempotencyKey);

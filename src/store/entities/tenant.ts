/** A customer of the service. Looked up before any of its data is read: suspended tenants are refused at the door. */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";

export const tenantSchema = defineEntity({
  name: "Tenant",
  tableName: "tenants",
  properties: {
    id: p.text().primary(),
    displayName: p.text().default(""),
    suspended: p.boolean().default(false),
    /** Share of claims beside other tenants. */
    weight: p.integer().default(1),
    /** Private targets its steps may call: `host:port`, `CIDR:port`. */
    egressAllow: p.array().columnType("text[]").default([]),
    /** What it may keep, by name; absent ones as for all tenants. */
    quotas: p.json<JsonObject>().columnType("json").default("{}"),
    /** Longest time that its ended executions are kept. */
    retentionMsMax: p.bigint("number").nullable(),
    createTime: p.datetime(3).defaultRaw("now()"),
    updateTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class Tenant extends tenantSchema.class {}
tenantSchema.setClass(Tenant);

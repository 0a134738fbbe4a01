/** Keys that a master key of the configuration wraps. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";

export const serverKeySchema = defineEntity({
  name: "ServerKey",
  tableName: "server_keys",
  properties: {
    name: p.text().primary(),
    masterKeyId: p.text(),
    wrapped: p.blob(),
    createTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class ServerKey extends serverKeySchema.class {}
serverKeySchema.setClass(ServerKey);

export const tenantKeySchema = defineEntity({
  name: "TenantKey",
  tableName: "tenant_keys",
  indexes: [{ name: "tenant_keys_master_idx", properties: ["masterKeyId"] }],
  properties: {
    tenantId: p.text().primary(),
    number: p.integer().primary(),
    masterKeyId: p.text(),
    wrapped: p.blob(),
    createTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class TenantKey extends tenantKeySchema.class {}
tenantKeySchema.setClass(TenantKey);

/** A tenant's secret without its values. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";

export const secretSchema = defineEntity({
  name: "Secret",
  tableName: "secrets",
  uniques: [{ name: "secrets_name_key", properties: ["tenantId", "name"] }],
  properties: {
    tenantId: p.text().primary(),
    id: p.uuid().primary(),
    name: p.text(),
    description: p.text().default(""),
    version: p.integer(),
    etag: p.text(),
    lastUseTime: p.datetime(3).nullable(),
    createTime: p.datetime(3).defaultRaw("now()"),
    updateTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class Secret extends secretSchema.class {}
secretSchema.setClass(Secret);

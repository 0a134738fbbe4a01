/** One sealed value of a secret. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";

export const secretVersionSchema = defineEntity({
  name: "SecretVersion",
  tableName: "secret_versions",
  indexes: [{ name: "secret_versions_expire_idx", properties: ["expireTime"], where: "expire_time is not null" }],
  properties: {
    tenantId: p.text().primary(),
    secretId: p.uuid().primary(),
    version: p.integer().primary(),
    keyNumber: p.integer(),
    sealed: p.blob(),
    createTime: p.datetime(3).defaultRaw("now()"),
    expireTime: p.datetime(3).nullable(),
  },
});

export class SecretVersion extends secretVersionSchema.class {}
secretVersionSchema.setClass(SecretVersion);

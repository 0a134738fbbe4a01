/** A credential. Its secret is never stored, only the HMAC-SHA256 of it under the server's pepper. Written by plain SQL, but for the scopes of the first key. */
import { defineEntity, p } from "@mikro-orm/core";

export const apiKeySchema = defineEntity({
  name: "ApiKey",
  tableName: "api_keys",
  indexes: [{ name: "api_keys_tenant_idx", properties: ["tenantId", "id"] }],
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    name: p.text(),
    secretHash: p.blob(),
    scopes: p.array().columnType("text[]"),
    createTime: p.datetime(3).defaultRaw("now()"),
    expireTime: p.datetime(3).nullable(),
    revokeTime: p.datetime(3).nullable(),
    /** The key that made it; empty: the server itself. */
    creator: p.text().default(""),
    rotateTime: p.datetime(3).nullable(),
    /** Of the secret before the newest, and until when it is valid. */
    previousSecretHash: p.blob().nullable(),
    previousExpireTime: p.datetime(3).nullable(),
  },
});

export class ApiKey extends apiKeySchema.class {}
apiKeySchema.setClass(ApiKey);

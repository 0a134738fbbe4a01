/** A credential. Its secret is never stored, only the HMAC-SHA256 of it under the server's pepper. */
import { defineEntity, p } from "@mikro-orm/core";

export const apiKeySchema = defineEntity({
  name: "ApiKey",
  tableName: "api_keys",
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    name: p.text(),
    secretHash: p.blob(),
    scopes: p.array().columnType("text[]"),
    createTime: p.datetime(3).defaultRaw("now()"),
    expireTime: p.datetime(3).nullable(),
    revokeTime: p.datetime(3).nullable(),
  },
});

export class ApiKey extends apiKeySchema.class {}
apiKeySchema.setClass(ApiKey);

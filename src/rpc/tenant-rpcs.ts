/** AccessService: the operator's rpcs, which make tenants and change what they may. They show and change settings, never what a tenant stores. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { TenantSchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import {
  type AccessService,
  CreateTenantResponseSchema,
  GetTenantResponseSchema,
  ListTenantsResponseSchema,
  UpdateTenantResponseSchema,
} from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { afterCommit } from "../base/change.ts";
import { AppError, missingField, violationsError } from "../base/errors.ts";
import { egressFaults, tenantIdFaults, usualSettings } from "../domain/tenant.ts";
import { checkTarget } from "../steps/egress/egress-rules.ts";
import { keyToMessage, newKey, scopeFaults } from "./api-key-message.ts";
import { formatApiKey } from "./api-keys.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { tenantMask, tenantToMessage, withTenantFields } from "./wire/tenant.ts";
import { fieldsToUpdate } from "./wire/update-mask.ts";

type TenantRpcs = Pick<ServiceImpl<typeof AccessService>, "createTenant" | "getTenant" | "listTenants" | "updateTenant">;
type TenantParts = Pick<RpcParts, "tenants" | "tenantChanged" | "keyPepper" | "grantableScopes" | "pageTokenKey">;

export function tenantRpcs(parts: TenantParts): TenantRpcs {
  const { tenants, grantableScopes } = parts;
  return {
    async createTenant({ tenant, keyName, keyScopes, validateOnly }, context) {
      const caller = callerOf(context);
      if (!tenant) throw missingField("tenant");
      const faults = [
        ...tenantIdFaults(tenant.id, "tenant.id"),
        ...egressFaults(tenant.egressAllow, checkTarget, "tenant.egress_allow"),
        ...scopeFaults(keyScopes, grantableScopes, "key_scopes"),
      ];
      if (faults.length > 0) throw violationsError(faults);
      const scopes = keyScopes.length > 0 ? keyScopes : grantableScopes.filter((scope) => caller.scopes.has(scope));
      const { key, secretHash } = newKey(parts.keyPepper);
      const settings = withTenantFields(usualSettings, tenant, new Set(tenantMask.writable));
      const firstKey = { keyId: key.keyId, name: keyName || "first key", scopes, secretHash };
      const made = await tenants.create(caller, { id: tenant.id, settings, firstKey, validateOnly });
      const secret = validateOnly ? "" : formatApiKey(key);
      return create(CreateTenantResponseSchema, { tenant: tenantToMessage(made.tenant), apiKey: keyToMessage(made.key), secret });
    },

    async getTenant({ tenant: id }) {
      const tenant = await tenants.find(id);
      if (!tenant) throw tenantNotFound(id);
      return create(GetTenantResponseSchema, { tenant: tenantToMessage(tenant) });
    },

    async listTenants({ pageSize, pageToken }, context) {
      const page = await listPage(parts, callerOf(context), "ListTenants", { pageSize, pageToken }, tenants.list);
      return create(ListTenantsResponseSchema, { tenants: page.items.map(tenantToMessage), nextPageToken: page.nextPageToken });
    },

    async updateTenant({ tenant: id, changes, updateMask, etag, validateOnly }, context) {
      const caller = callerOf(context);
      if (!changes) throw missingField("changes");
      const fields = fieldsToUpdate(TenantSchema, changes, updateMask, tenantMask);
      const faults = fields.has("egress_allow") ? [...egressFaults(changes.egressAllow, checkTarget, "changes.egress_allow")] : [];
      if (id === caller.tenantId && fields.has("suspended") && changes.suspended) {
        const description = "is refused for the tenant of the key that asks: nobody could end it";
        faults.push({ field: "changes.suspended", reason: "VALIDATION_FAILED", description });
      }
      if (faults.length > 0) throw violationsError(faults);
      const change = (before: Parameters<typeof withTenantFields>[0]) => withTenantFields(before, changes, fields);
      const tenant = await tenants.update(caller, id, { change, etag, validateOnly });
      if (!tenant) throw tenantNotFound(id);
      if (!validateOnly) await afterCommit(caller, () => parts.tenantChanged(tenant.id));
      return create(UpdateTenantResponseSchema, { tenant: tenantToMessage(tenant) });
    },
  };
}

function tenantNotFound(id: string): AppError {
  return new AppError("TENANT_NOT_FOUND", "there is no tenant with that id", { metadata: { tenant: id.slice(0, 128) } });
}

/** Tenants as the operator sees them, and what an update takes of the message. */
import { create } from "@bufbuild/protobuf";
import { type Tenant, TenantSchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import type { TenantQuotas, TenantSettings } from "../../domain/tenant.ts";
import type { TenantRecord } from "../../store/tenant-repository.ts";
import { durationOf, msOfDuration, timestampOf } from "./time.ts";
import type { MaskRules } from "./update-mask.ts";

export const tenantMask: MaskRules = {
  writable: ["display_name", "suspended", "weight", "egress_allow", "quotas", "retention_max"],
  outputOnly: ["id", "create_time", "update_time", "etag"],
};

export function tenantToMessage({ quotas, ...record }: TenantRecord): Tenant {
  return create(TenantSchema, {
    id: record.id,
    displayName: record.displayName,
    suspended: record.suspended,
    weight: record.weight,
    egressAllow: [...record.egressAllow],
    quotas: { ...quotas, ...(quotas.fileBytes === undefined ? {} : { fileBytes: BigInt(quotas.fileBytes) }) } as Tenant["quotas"] & object,
    retentionMax: durationOf(record.retentionMsMax),
    createTime: timestampOf(record.createdAt),
    updateTime: timestampOf(record.updatedAt),
    etag: record.etag,
  });
}

/** The settings with the named fields taken from the message. */
export function withTenantFields(before: TenantSettings, wish: Tenant, fields: ReadonlySet<string>): TenantSettings {
  return {
    displayName: fields.has("display_name") ? wish.displayName : before.displayName,
    suspended: fields.has("suspended") ? wish.suspended : before.suspended,
    weight: fields.has("weight") ? Math.max(1, wish.weight) : before.weight,
    egressAllow: fields.has("egress_allow") ? wish.egressAllow : before.egressAllow,
    quotas: fields.has("quotas") ? quotasOf(wish) : before.quotas,
    retentionMsMax: fields.has("retention_max") ? msOfDuration(wish.retentionMax) : before.retentionMsMax,
  };
}

function quotasOf({ quotas }: Tenant): TenantQuotas {
  const { files, fileBytes, apiKeys, secrets, storedEvents } = quotas ?? {};
  const given = { files, fileBytes: fileBytes === undefined ? undefined : Number(fileBytes), apiKeys, secrets, storedEvents };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

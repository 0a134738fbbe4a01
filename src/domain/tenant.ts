/**
 * What the operator says of a tenant: whether it is let in, its share beside others, what it may keep and reach. Quotas that are
 * absent are those of the service.
 */
import { type FieldViolation, messageOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";

/** The service's own limits, for tenants that have none of their own. */
export const usualQuotas = {
  files: limits.filesPerTenantMax,
  /** Of all its files. */
  fileBytes: limits.fileBytesPerTenantMax,
  /** That are valid. */
  apiKeys: limits.keysPerTenantMax,
  secrets: limits.secretsPerTenantMax,
  /** Signals and published events. */
  storedEvents: limits.signalsPerTenantMax,
} as const;

export type QuotaName = keyof typeof usualQuotas;
export type TenantQuotas = Readonly<Partial<Record<QuotaName, number>>>;

export interface TenantSettings {
  readonly displayName: string;
  readonly suspended: boolean;
  /** Share of claims beside other tenants, at least 1. */
  readonly weight: number;
  /** Private targets that its steps may call: `host:port`, `CIDR:port`. */
  readonly egressAllow: readonly string[];
  readonly quotas: TenantQuotas;
  /** Longest time that its ended executions are kept, in milliseconds; undefined: no bound of its own. */
  readonly retentionMsMax: number | undefined;
}

export const usualSettings: TenantSettings = { displayName: "", suspended: false, weight: 1, egressAllow: [], quotas: {}, retentionMsMax: undefined };

/** Of the templates that every tenant sees. */
export const reservedTenant = "system";

/** What is wrong with the id of a new tenant; nothing where it can be one. */
export function tenantIdFaults(id: string, field: string): readonly FieldViolation[] {
  const fault = (description: string): readonly FieldViolation[] => [{ field, reason: "VALIDATION_FAILED", description }];
  if (id === reservedTenant) return fault(`${reservedTenant} is reserved; choose another one`);
  if (/^[a-z][a-z0-9_-]{0,62}$/.test(id)) return [];
  return fault("must have 1 to 63 lower case letters, digits, _ and -, beginning with a letter");
}

/** Entries of `egress_allow` that `check` throws on, by their place below `field`. */
export function egressFaults(entries: readonly string[], check: (entry: string) => void, field: string): readonly FieldViolation[] {
  return entries.flatMap((entry, index): FieldViolation[] => {
    try {
      check(entry);
      return [];
    } catch (error) {
      return [{ field: `${field}[${index}]`, reason: "VALIDATION_FAILED", description: messageOf(error) }];
    }
  });
}

/** What a tenant may keep of that. */
export function quotaOf(quotas: TenantQuotas, name: QuotaName): number {
  return quotas[name] ?? usualQuotas[name];
}

/** Of quotas as they are stored; what is no number of ours is left out. */
export function readQuotas(stored: unknown): TenantQuotas {
  const given = typeof stored === "object" && stored !== null ? (stored as Readonly<Record<string, unknown>>) : {};
  const names = Object.keys(usualQuotas) as QuotaName[];
  return Object.fromEntries(names.flatMap((name) => (typeof given[name] === "number" ? [[name, given[name] as number]] : [])));
}

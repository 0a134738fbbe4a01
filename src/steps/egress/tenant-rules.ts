/**
 * The rules for one tenant: what is open to everybody, and what its own row opens beside that. Lists are read again after ten
 * seconds, or when a change is told, so a target that is closed stays closed soon after. While they cannot be read, the list that was read last holds
 * for a minute, then none.
 */
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { createEgressRules, type EgressRuleOptions, type EgressRules, type LookUp } from "./egress-rules.ts";

/** Private targets of a tenant, entries as in PAWF_EGRESS_ALLOW. */
export type TenantAllow = (tenantId: string) => Promise<readonly string[]>;

export interface TenantRules {
  readonly rules: EgressRules;
  /** Equal for tenants that may reach the same: nothing that was opened under another one is used. Empty: nothing of its own. */
  readonly key: string;
}

export type RulesOf = (tenantId: string) => Promise<TenantRules>;

export interface KnownRules {
  readonly rulesOf: RulesOf;
  /** The tenant's list was changed: the next one who asks reads it again. */
  readonly forget: (tenantId: string) => void;
}

const freshMs = 10_000;
const staleMsMax = 60_000;
/** Tenants and lists kept in memory; the least recently used go first. */
const keptMax = 1_000;

export interface TenantRuleParts {
  readonly shared: EgressRuleOptions;
  readonly sharedRules: EgressRules;
  readonly tenantAllow: TenantAllow | undefined;
  readonly lookUp: LookUp;
  readonly clock: Clock;
  readonly log: Log;
}

export function createTenantRules({ shared, sharedRules, tenantAllow, lookUp, clock, log }: TenantRuleParts): KnownRules {
  const none: TenantRules = { rules: sharedRules, key: "" };
  const byList = new Map<string, TenantRules>();
  const byTenant = new Map<string, Known>();

  function rulesOfList(tenantId: string, entries: readonly string[]): TenantRules {
    if (entries.length === 0) return none;
    const key = JSON.stringify([...entries].sort());
    const known = byList.get(key);
    if (known) return keep(byList, key, known);
    const readable = entries.filter((entry) => {
      try {
        return createEgressRules({ ...shared, allow: [entry] }, lookUp) !== undefined;
      } catch (error) {
        log.error({ tenantId, error: messageOf(error) }, "an entry of a tenant's egress_allow opens nothing");
        return false;
      }
    });
    return keep(byList, key, { rules: createEgressRules({ ...shared, allow: [...shared.allow, ...readable] }, lookUp), key });
  }

  async function read(tenantId: string, allow: TenantAllow, before: Known | undefined): Promise<Read> {
    try {
      return { own: rulesOfList(tenantId, await allow(tenantId)), readAt: clock.monotonic() };
    } catch (error) {
      log.warn({ tenantId, error: messageOf(error) }, "a tenant's egress_allow cannot be read");
      const last = await before?.found;
      return last && clock.monotonic() - last.readAt < staleMsMax ? last : { own: none, readAt: Number.NEGATIVE_INFINITY };
    }
  }

  const rulesOf: RulesOf = async (tenantId) => {
    if (!tenantAllow) return none;
    const known = byTenant.get(tenantId);
    if (known && clock.monotonic() - known.askedAt < freshMs) return (await known.found).own;
    return (await keep(byTenant, tenantId, { askedAt: clock.monotonic(), found: read(tenantId, tenantAllow, known) }).found).own;
  };
  return {
    rulesOf,
    forget(tenantId) {
      // Kept as what holds for a minute while the list cannot be read, but too old to be taken as it is.
      const known = byTenant.get(tenantId);
      if (known) byTenant.set(tenantId, { ...known, askedAt: Number.NEGATIVE_INFINITY });
    },
  };
}

interface Read {
  readonly own: TenantRules;
  readonly readAt: number;
}

interface Known {
  readonly askedAt: number;
  readonly found: Promise<Read>;
}

function keep<Value>(map: Map<string, Value>, key: string, value: Value): Value {
  map.delete(key);
  map.set(key, value);
  if (map.size > keptMax) map.delete(map.keys().next().value as string);
  return value;
}

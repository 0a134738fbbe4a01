/**
 * One pass of deleting what is over, on a connection of its own: a session advisory lock on it keeps all other replicas out
 * and is freed by PostgreSQL when this process dies. Its planner may not scan whole tables: a batch names its rows, and a scan
 * of the ledger, chosen once by young statistics, would take minutes.
 */

import { Client, type ClientConfig } from "pg";
import type { JsonObject } from "../base/json.ts";
import { guarded } from "./database-error.ts";
import { planGuard } from "./plan-guard.ts";
import { purgeAuditLines } from "./sql/audit-log.ts";
import { type Deleted, deleteExpired } from "./sql/delete-expired.ts";
import { type ExpiredExecution, type FindExpired, findExpired } from "./sql/find-expired.ts";
import { purgeNotifications } from "./sql/notification-counts.ts";
import { purgeSignals } from "./sql/purge-signals.ts";

export type { Deleted } from "./sql/delete-expired.ts";
export type { Cutoffs, ExpiredExecution, FindExpired, RevisionCutoffs } from "./sql/find-expired.ts";

export interface RetentionStore {
  /** Undefined when another replica is at it. */
  open(): Promise<RetentionPass | undefined>;
}

export interface RetentionPass {
  tenants(): Promise<readonly RetentionTenant[]>;
  /** Revisions of the tenant whose definition says how long to keep. */
  policies(tenantId: string): Promise<readonly RevisionPolicy[]>;
  findExpired(wish: FindExpired): Promise<readonly ExpiredExecution[]>;
  deleteExpired(tenantId: string, uuids: readonly string[]): Promise<Deleted>;
  /** Deletes at most `rowsMax` signals of the tenant whose time is over; answers how many. */
  purgeSignals(tenantId: string, rowsMax: number): Promise<number>;
  /** Deletes at most `rowsMax` counts of the tenant's notifications whose hour is over; answers how many. */
  purgeNotifications(tenantId: string, rowsMax: number): Promise<number>;
  /** Deletes at most `rowsMax` lines of the tenant's audit log that are older than 400 days; answers how many. */
  purgeAuditLines(tenantId: string, rowsMax: number): Promise<number>;
  close(): Promise<void>;
}

export interface RetentionTenant {
  readonly id: string;
  /** Upper bound of every policy of this tenant; undefined: it has none of its own. */
  readonly retentionMsMax: number | undefined;
}

export interface RevisionPolicy {
  readonly workflowUuid: string;
  readonly revision: number;
  /** As its author wrote it: `completed` and `failed` as durations. */
  readonly retention: JsonObject;
}

/** A year and the weeks in which it is audited. */
const auditKeptMs = 400 * 86_400_000;
/** Any constant that no other program takes in this database ("PAWF" as bytes, then 2). */
const lockKey = "344737564674";

interface TenantBound {
  readonly id: string;
  readonly bound: number | null;
}
const tenantsText = "select id, retention_ms_max::float8 as bound from tenants order by id";
const policiesText = `select workflow_id as "workflowUuid", revision, definition->'retention' as retention from workflow_revisions
  where tenant_id = $1 and json_typeof(definition->'retention') = 'object'`;

export function createRetentionStore(connection: ClientConfig): RetentionStore {
  return {
    async open() {
      const client = new Client({ ...connection, options: planGuard, application_name: "pawf-retention", keepAlive: true });
      // A connection that breaks fails the statement under way, or the next one.
      client.on("error", () => undefined);
      await client.connect();
      try {
        const { rows } = await client.query<{ locked: boolean }>("select pg_try_advisory_lock($1::bigint) as locked", [lockKey]);
        if (rows[0]?.locked === true) return passOn(client);
      } catch (error) {
        await client.end().catch(() => undefined);
        throw error;
      }
      await client.end();
      return undefined;
    },
  };
}

function passOn(client: Client): RetentionPass {
  return {
    tenants: () =>
      guarded(async () => (await client.query<TenantBound>(tenantsText)).rows.map(({ id, bound }) => ({ id, retentionMsMax: bound ?? undefined }))),
    policies: (tenantId) => guarded(async () => (await client.query<RevisionPolicy>(policiesText, [tenantId])).rows),
    findExpired: (wish) => guarded(() => findExpired(client, wish)),
    deleteExpired: (tenantId, uuids) => guarded(() => deleteExpired(client, tenantId, uuids)),
    purgeSignals: (tenantId, rowsMax) => guarded(() => purgeSignals(client, tenantId, rowsMax)),
    purgeNotifications: (tenantId, rowsMax) => guarded(() => purgeNotifications(client, tenantId, rowsMax)),
    purgeAuditLines: (tenantId, rowsMax) => guarded(() => purgeAuditLines(client, tenantId, auditKeptMs, rowsMax)),
    close: () => client.end().catch(() => undefined),
  };
}

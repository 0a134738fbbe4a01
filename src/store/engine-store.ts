/** The engine's view of the store: claims under this replica's lease, and ledgers. */
import type { Pool } from "pg";
import { formatId, parseId } from "../base/ids.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import { guarded } from "./database-error.ts";
import type { Fence } from "./journal.ts";
import { type ClaimedExecution, claimExecutions } from "./sql/claim-executions.ts";
import { claimOne } from "./sql/claim-one.ts";
import { loadLedgers } from "./sql/load-ledgers.ts";
import { nextDue, type TenantDue } from "./sql/next-due.ts";
import { findOwned, releaseLost, releaseOrphans } from "./sql/release-lost.ts";

/** As it stood when it was found. */
export interface OwnedExecution {
  readonly executionId: string;
  readonly version: string;
}

/** Everything here throws AppError STORAGE_UNAVAILABLE while the database is away. */
export interface EngineStore {
  /** Tenants with parked executions and how long until the first is due. */
  nextDue(): Promise<readonly TenantDue[]>;
  claim(tenantId: string, rowsMax: number): Promise<readonly ClaimedExecution[]>;
  /** Takes one parked execution before it is due, with `ended` also one that has ended. Undefined when it is driven somewhere or unknown. */
  claimOne(tenantId: string, executionId: string, ended: boolean): Promise<ClaimedExecution | undefined>;
  /** Makes an execution that this replica owns but no longer drives due in `pauseMs`. Does nothing when somebody else owns it. */
  release(tenantId: string, executionId: string, pauseMs: number): Promise<void>;
  /** Executions that this replica owns, but those. */
  findOwned(except: readonly string[]): Promise<readonly OwnedExecution[]>;
  /** Makes those that nobody has written since they were found due at once; answers how many that were. */
  releaseOrphans(owned: readonly OwnedExecution[]): Promise<number>;
  loadLedgers(tenantId: string, executionIds: readonly string[]): Promise<ReadonlyMap<string, readonly ExecutionEvent[]>>;
}

export function createEngineStore(pool: Pool, fence: () => Fence): EngineStore {
  return {
    nextDue: () => guarded(() => nextDue(pool)),
    claim: (tenantId, rowsMax) => guarded(() => claimExecutions(pool, fence(), tenantId, rowsMax)),
    async claimOne(tenantId, executionId, ended) {
      const uuid = parseId("execution", executionId);
      const claimed = uuid === undefined ? undefined : await guarded(() => claimOne(pool, fence(), tenantId, uuid, ended));
      if (!claimed) return undefined;
      const { workflowUuid, revision } = claimed;
      return { tenantId, executionId, revision, workflowId: workflowUuid === undefined ? undefined : formatId("workflow", workflowUuid) };
    },
    async release(tenantId, executionId, pauseMs) {
      await guarded(() => releaseLost(pool, fence(), { tenantId, executionUuid: parseId("execution", executionId), pauseMs }));
    },
    async findOwned(except) {
      const uuids = except.flatMap((executionId) => parseId("execution", executionId) ?? []);
      const rows = await guarded(() => findOwned(pool, fence().replicaId, uuids));
      return rows.map(({ executionUuid, version }) => ({ executionId: formatId("execution", executionUuid), version }));
    },
    releaseOrphans(owned) {
      const rows = owned.map(({ executionId, version }) => ({ executionUuid: parseId("execution", executionId) ?? "", version }));
      return guarded(() => releaseOrphans(pool, fence(), rows));
    },
    loadLedgers: (tenantId, executionIds) => guarded(() => loadLedgers(pool, tenantId, executionIds)),
  };
}

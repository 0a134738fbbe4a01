/**
 * Slots of workflows with a concurrency limit. A slot is taken before its execution is written and freed after it ended, both
 * under a lock of the workflow's row, so at no moment do more run than the limit says, whatever replicas do or die.
 */

import type { Pool, PoolClient } from "pg";
import { formatId, parseId } from "../base/ids.ts";
import { guarded } from "./database-error.ts";
import { inTransaction } from "./transaction.ts";

export interface SlotWish {
  readonly tenantId: string;
  readonly workflowId: string;
  /** Executions with one key share the limit. */
  readonly groupKey: string;
  readonly executionId: string;
  readonly maxRunning: number;
  readonly onLimit: "queue" | "reject" | "cancel_running";
}

export interface SlotHolder {
  readonly tenantId: string;
  readonly executionId: string;
}

export interface SlotStore {
  /** `full`: nothing was taken. */
  take(wish: SlotWish): Promise<"running" | "queued" | "full">;
  /** The execution was not written after all. */
  drop(holder: SlotHolder): Promise<void>;
  /** Whether there is any slot: most services have none. */
  any(): Promise<boolean>;
  /** Frees the slots of what ended, gives them to those that wait longest, and answers who is to be told. */
  settle(): Promise<{ readonly release: readonly SlotHolder[]; readonly cancel: readonly SlotHolder[] }>;
  released(holder: SlotHolder): Promise<void>;
}

/** A slot whose execution was never written is freed after this; a start takes seconds at most. */
const orphanMs = 300_000;
const toldMax = 200;

const lockText = "select state from workflows where tenant_id = $1 and id = $2 for no key update";
const takeText = `
insert into workflow_slots (tenant_id, workflow_id, group_key, execution_id, running, released, max_running, cancel_running)
select $1, $2, $3, $4, c.free, c.free, $5, $6 from (
  select count(*) filter (where running) < $5 and count(*) filter (where not running) = 0 as free
  from workflow_slots where tenant_id = $1 and workflow_id = $2 and group_key = $3
) c where c.free or not $7 returning running`;

const freeText = `
delete from workflow_slots s where exists (
  select from workflow_executions e where e.tenant_id = s.tenant_id and e.id = s.execution_id and e.end_time is not null)
or (s.create_time < clock_timestamp() - $1 * interval '1 millisecond' and not exists (
  select from workflow_executions e where e.tenant_id = s.tenant_id and e.id = s.execution_id))`;

const waitingText = "select distinct tenant_id, workflow_id, group_key from workflow_slots where not running limit 1000";
/** Oldest first; each by its own revision's limit. What is not written yet may still be refused, so it waits. */
const promoteText = `
update workflow_slots s set running = true from (
  select w.execution_id, row_number() over (order by w.execution_id) as place, w.max_running
  from workflow_slots w where w.tenant_id = $1 and w.workflow_id = $2 and w.group_key = $3 and not w.running
    and exists (select from workflow_executions e where e.tenant_id = w.tenant_id and e.id = w.execution_id)
) q where s.tenant_id = $1 and s.workflow_id = $2 and s.group_key = $3 and s.execution_id = q.execution_id
  and q.place <= q.max_running - (select count(*) from workflow_slots r
    where r.tenant_id = $1 and r.workflow_id = $2 and r.group_key = $3 and r.running)`;

const releaseText = `select tenant_id as "tenantId", execution_id as "executionUuid" from workflow_slots where running and not released limit ${toldMax}`;
const cancelText = `
select r.tenant_id as "tenantId", r.execution_id as "executionUuid" from workflow_slots r
where r.running and exists (select from workflow_slots q where q.tenant_id = r.tenant_id and q.workflow_id = r.workflow_id
  and q.group_key = r.group_key and not q.running and q.cancel_running) limit ${toldMax}`;

export function createSlotStore({ pool }: { readonly pool: Pool }): SlotStore {
  const locked = <Answer>(work: (client: PoolClient) => Promise<Answer>): Promise<Answer> => guarded(() => inTransaction(pool, work));
  const holders = async (text: string): Promise<SlotHolder[]> => {
    const { rows } = await guarded(() => pool.query<{ tenantId: string; executionUuid: string }>(text));
    return rows.map(({ tenantId, executionUuid }) => ({ tenantId, executionId: formatId("execution", executionUuid) }));
  };
  const byExecution = (text: string, { tenantId, executionId }: SlotHolder): Promise<unknown> =>
    guarded(() => pool.query(text, [tenantId, parseId("execution", executionId)]));

  return {
    take: (wish) =>
      locked(async (client) => {
        const workflowUuid = parseId("workflow", wish.workflowId);
        await client.query(lockText, [wish.tenantId, workflowUuid]);
        const { rows } = await client.query<{ running: boolean }>(takeText, [
          wish.tenantId,
          workflowUuid,
          wish.groupKey,
          parseId("execution", wish.executionId),
          wish.maxRunning,
          wish.onLimit === "cancel_running",
          wish.onLimit === "reject",
        ]);
        return rows[0] === undefined ? "full" : rows[0].running ? "running" : "queued";
      }),

    async drop(holder) {
      await byExecution("delete from workflow_slots where tenant_id = $1 and execution_id = $2", holder);
    },

    async any() {
      const { rows } = await guarded(() => pool.query<{ any: boolean }>("select exists (select from workflow_slots) as any"));
      return rows[0]?.any === true;
    },

    async settle() {
      await guarded(() => pool.query(freeText, [orphanMs]));
      const { rows } = await guarded(() => pool.query<{ tenant_id: string; workflow_id: string; group_key: string }>(waitingText));
      for (const { tenant_id, workflow_id, group_key } of rows) {
        await locked(async (client) => {
          const head = await client.query<{ state: string }>(lockText, [tenant_id, workflow_id]);
          // A paused workflow lets nobody begin; what waits under it goes on when it is resumed.
          if (head.rows[0]?.state !== "paused") await client.query(promoteText, [tenant_id, workflow_id, group_key]);
        });
      }
      return { release: await holders(releaseText), cancel: await holders(cancelText) };
    },

    async released(holder) {
      await byExecution("update workflow_slots set released = true where tenant_id = $1 and execution_id = $2", holder);
    },
  };
}

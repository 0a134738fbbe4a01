/**
 * Sweeps: a command for all open executions of a workflow, batch by batch. One replica at a time holds a sweep (until `dueAt`);
 * what it did is written down after each batch, so whoever goes on after a crash repeats at most one batch, and every command
 * may be given twice. Sweeps of one workflow follow each other: only the oldest one that is not through can be taken. One that
 * only waits for its second pass holds nobody up, and makes none once there is a newer one.
 */
import type { Pool } from "pg";
import { formatId, nilUuid, parseId } from "../base/ids.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";

/** `release` lets starts begin that were queued; `resume` does that too and resumes what is paused. */
export type SweepCommand = "pause" | "resume" | "release" | "cancel";

export interface Sweep {
  readonly tenantId: string;
  readonly workflowUuid: string;
  readonly id: string;
  readonly command: SweepCommand;
  readonly actor: string;
  readonly reason: string;
  readonly afterUuid: string | undefined;
  readonly doneCount: number;
  /** How often it went through all of them already. */
  readonly passes: number;
}

export interface SweepStore {
  /** Takes a due sweep for `claimMs`: the oldest of `workflowId`, or of any workflow. Undefined: there is none. */
  take(claimMs: number, of?: { readonly tenantId: string; readonly workflowId: string }): Promise<Sweep | undefined>;
  /** The next open executions it is for, by their ids. */
  next(sweep: Sweep, rowsMax: number): Promise<readonly string[]>;
  /** Writes down how far it came and keeps it for `claimMs`. */
  advance(sweep: Sweep, afterExecutionId: string, doneCount: number, claimMs: number): Promise<Sweep>;
  /** Begins again from the first execution in `inMs`: what was under way meanwhile may have been missed. */
  again(sweep: Sweep, inMs: number): Promise<void>;
  /** Older ones that waited for their second pass are over with it. */
  finish(sweep: Sweep): Promise<void>;
}

const columns = `s.tenant_id as "tenantId", s.workflow_id as "workflowUuid", s.id, s.command, s.actor, s.reason, s.after_id as "afterUuid", s.done_count as "doneCount", s.passes`;
const key = "tenant_id = $1 and workflow_id = $2 and id = $3";

const takeText = `
update workflow_sweeps s set due_at = clock_timestamp() + $1 * interval '1 millisecond'
from (
  select tenant_id, workflow_id, id from workflow_sweeps d
  where due_at <= clock_timestamp() and ($2::text is null or (tenant_id = $2 and workflow_id = $3))
    and not exists (select from workflow_sweeps o where o.tenant_id = d.tenant_id and o.workflow_id = d.workflow_id and ((o.id < d.id and o.passes = 0) or (o.id > d.id and d.passes > 0)))
  order by due_at limit 1 for update skip locked
) d where s.tenant_id = d.tenant_id and s.workflow_id = d.workflow_id and s.id = d.id returning ${columns}`;

/** Only those that the command says something to. What is queued is not paused: it would stay so when it is let go. */
const nextText = `
select id from workflow_executions where tenant_id = $1 and workflow_id = $2 and end_time is null and id > $3
  and case $4 when 'pause' then not paused and state <> 'pending' when 'resume' then paused or state = 'pending' when 'release' then state = 'pending' else true end
order by id limit $5`;

export function createSweepStore({ pool }: { readonly pool: Pool } | Pick<Database, "pool">): SweepStore {
  const run = async <Row extends object>(text: string, values: unknown[]): Promise<Row[]> => (await guarded(() => pool.query<Row>({ text, values }))).rows;
  return {
    async take(claimMs, of) {
      const workflowUuid = of && parseId("workflow", of.workflowId);
      const [row] = await run<Sweep & { afterUuid: string | null }>(takeText, [claimMs, of?.tenantId ?? null, workflowUuid ?? null]);
      return row && { ...row, afterUuid: row.afterUuid ?? undefined };
    },
    async next({ tenantId, workflowUuid, afterUuid, command }, rowsMax) {
      const rows = await run<{ id: string }>(nextText, [tenantId, workflowUuid, afterUuid ?? nilUuid, command, rowsMax]);
      return rows.map(({ id }) => formatId("execution", id));
    },
    async advance(sweep, afterExecutionId, doneCount, claimMs) {
      const afterUuid = parseId("execution", afterExecutionId);
      await run(`update workflow_sweeps set after_id = $4, done_count = $5, due_at = clock_timestamp() + $6 * interval '1 millisecond' where ${key}`, [
        sweep.tenantId,
        sweep.workflowUuid,
        sweep.id,
        afterUuid,
        doneCount,
        claimMs,
      ]);
      return { ...sweep, afterUuid, doneCount };
    },
    async again({ tenantId, workflowUuid, id }, inMs) {
      const values = [tenantId, workflowUuid, id];
      await run(`update workflow_sweeps set after_id = null, passes = passes + 1, due_at = clock_timestamp() + $4 * interval '1 millisecond' where ${key}`, [
        ...values,
        inMs,
      ]);
    },
    async finish({ tenantId, workflowUuid, id }) {
      await run("delete from workflow_sweeps where tenant_id = $1 and workflow_id = $2 and (id = $3 or (id < $3 and passes > 0))", [
        tenantId,
        workflowUuid,
        id,
      ]);
    },
  };
}

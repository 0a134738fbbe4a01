/**
 * Ended executions whose time of keeping is over, oldest first, behind a cursor. Reads the index of ended executions
 * (tenant, end_time, id) from its old end to the latest moment that any policy allows, so that nothing open or young is even
 * looked at. Policies of single revisions come as arrays; everything else goes by the two defaults.
 *
 * What the usage of templates has not counted yet stays. A child stays while its parent, or the execution at the top of its tree,
 * is open: that one may still have to undo it.
 */

import type { ClientBase } from "pg";
import { nilUuid } from "../../base/ids.ts";

/** Moments before which an execution must have ended to be deleted, milliseconds since the epoch. */
export interface Cutoffs {
  readonly completedBefore: number;
  readonly failedBefore: number;
}

export interface RevisionCutoffs extends Cutoffs {
  readonly workflowUuid: string;
  readonly revision: number;
}

export interface ExpiredExecution {
  readonly uuid: string;
  /** Number of its last event, which is how many it has. */
  readonly events: number;
  /** Text of the database, exact to the microsecond: the cursor of the next page. */
  readonly endTime: string;
}

const text = `
select e.id as uuid, e.last_sequence as events, e.end_time::text as "endTime"
from workflow_executions e
left join unnest($2::uuid[], $3::int[], $4::timestamptz[], $5::timestamptz[]) as p (workflow_id, revision, completed_before, failed_before)
  on p.workflow_id = e.workflow_id and p.revision = e.revision
left join template_usage_cursors c on c.tenant_id = $1
where e.tenant_id = $1 and e.end_time is not null and e.owner is null
  and e.end_time < $6::timestamptz and (e.end_time, e.id) > ($7::timestamptz, $8::uuid)
  and e.end_time < case when e.state = 'completed' then coalesce(p.completed_before, $9::timestamptz) else coalesce(p.failed_before, $10::timestamptz) end
  and (c.tenant_id is null or (e.end_time, e.id) <= (c.end_time, c.end_id))
  and (e.parent_execution_id is null or not exists (
    select 1 from workflow_executions parent
    where parent.tenant_id = e.tenant_id and parent.id in (e.parent_execution_id, e.root_execution_id) and parent.end_time is null))
order by e.end_time, e.id limit $11`;

export interface FindExpired {
  readonly tenantId: string;
  readonly defaults: Cutoffs;
  readonly revisions: readonly RevisionCutoffs[];
  readonly after: ExpiredExecution | undefined;
  readonly rowsMax: number;
}

export async function findExpired(client: ClientBase, { tenantId, defaults, revisions, after, rowsMax }: FindExpired): Promise<ExpiredExecution[]> {
  const latest = Math.max(...[defaults, ...revisions].flatMap(({ completedBefore, failedBefore }) => [completedBefore, failedBefore]));
  const { rows } = await client.query<ExpiredExecution>({
    name: "find_expired",
    text,
    values: [
      tenantId,
      revisions.map(({ workflowUuid }) => workflowUuid),
      revisions.map(({ revision }) => revision),
      revisions.map(({ completedBefore }) => timeText(completedBefore)),
      revisions.map(({ failedBefore }) => timeText(failedBefore)),
      timeText(latest),
      after?.endTime ?? "-infinity",
      after?.uuid ?? nilUuid,
      timeText(defaults.completedBefore),
      timeText(defaults.failedBefore),
      rowsMax,
    ],
  });
  return rows;
}

function timeText(at: number): string {
  return new Date(at).toISOString();
}

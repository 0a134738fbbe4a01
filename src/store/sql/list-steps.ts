/** Step rows of one execution by path, each with the payload of the event that ended its action (`result_sequence`). */
import type { Pool } from "pg";
import type { JsonObject } from "../../base/json.ts";
import type { OperationStatus, StepStatus } from "../../domain/states.ts";

const text = `
select s.path, s.state, s.attempt, s.action_state as "actionState", s.compensation_state as "compensationState",
  s.result_sequence as "resultSequence", s.start_time as "startTime", s.end_time as "endTime", e.payload
from (
  select * from workflow_execution_steps where tenant_id = $1 and execution_id = $2 and path > $3 order by path limit $4
) s left join execution_events e on e.tenant_id = s.tenant_id and e.execution_id = s.execution_id and e.sequence = s.result_sequence
order by s.path`;

export interface StepRow {
  readonly path: string;
  readonly state: StepStatus;
  readonly attempt: number;
  readonly actionState: OperationStatus;
  readonly compensationState: OperationStatus;
  readonly resultSequence: number;
  readonly startTime: Date | null;
  readonly endTime: Date | null;
  readonly payload: JsonObject | null;
}

export async function listSteps(pool: Pool, tenantId: string, executionUuid: string, afterPath: string, limit: number): Promise<StepRow[]> {
  const { rows } = await pool.query<StepRow>({ name: "list_steps", text, values: [tenantId, executionUuid, afterPath, limit] });
  return rows;
}

/**
 * The statements of the inbox `execution_commands`: commands for executions that another replica drives. The table holds
 * only what is under way, so none of them needs an index besides the key.
 */
import type { Pool } from "pg";
import type { JsonObject } from "../../base/json.ts";

export interface CommandKey {
  readonly tenantId: string;
  readonly executionUuid: string;
  readonly commandId: string;
}

const post = `
insert into execution_commands (tenant_id, execution_id, id, command)
select tenant_id, id, $3, $4::json from workflow_executions where tenant_id = $1 and id = $2 and owner is not null`;

/** False, and nothing is stored, when nobody drives the execution at this moment. */
export async function postCommand(pool: Pool, { tenantId, executionUuid, commandId }: CommandKey, command: string): Promise<boolean> {
  const { rowCount } = await pool.query({ name: "post_command", text: post, values: [tenantId, executionUuid, commandId, command] });
  return rowCount === 1;
}

export interface TakenRow {
  readonly tenantId: string;
  readonly executionUuid: string;
  readonly commandId: string;
  readonly command: JsonObject;
  readonly createTime: Date;
}

// Taken once by each owner: if one dies before it answers, the next one takes the command again.
const take = `
update execution_commands c set taken_by = $1
from workflow_executions e
where e.tenant_id = c.tenant_id and e.id = c.execution_id and e.owner = $1 and c.answer is null and c.taken_by is distinct from $1
returning c.tenant_id as "tenantId", c.execution_id as "executionUuid", c.id as "commandId", c.command, c.create_time as "createTime"`;

export async function takeCommands(pool: Pool, replicaId: string): Promise<TakenRow[]> {
  return (await pool.query<TakenRow>({ name: "take_commands", text: take, values: [replicaId] })).rows;
}

const answer = "update execution_commands set answer = $4::json where tenant_id = $1 and execution_id = $2 and id = $3";

export async function answerCommand(pool: Pool, { tenantId, executionUuid, commandId }: CommandKey, text: string): Promise<void> {
  await pool.query({ name: "answer_command", text: answer, values: [tenantId, executionUuid, commandId, text] });
}

export interface CommandStatus {
  readonly answer: JsonObject | null;
  readonly isTaken: boolean;
  /** Somebody drives the execution. */
  readonly isDriven: boolean;
}

const look = `
select c.answer, c.taken_by is not null as "isTaken", e.owner is not null as "isDriven"
from execution_commands c join workflow_executions e on e.tenant_id = c.tenant_id and e.id = c.execution_id
where c.tenant_id = $1 and c.execution_id = $2 and c.id = $3`;

export async function lookAtCommand(pool: Pool, { tenantId, executionUuid, commandId }: CommandKey): Promise<CommandStatus | undefined> {
  return (await pool.query<CommandStatus>({ name: "look_at_command", text: look, values: [tenantId, executionUuid, commandId] })).rows[0];
}

const withdraw = "delete from execution_commands where tenant_id = $1 and execution_id = $2 and id = $3 returning answer";

/** The answer, if it came before. */
export async function withdrawCommand(pool: Pool, { tenantId, executionUuid, commandId }: CommandKey): Promise<JsonObject | undefined> {
  const { rows } = await pool.query<{ answer: JsonObject | null }>({
    name: "withdraw_command",
    text: withdraw,
    values: [tenantId, executionUuid, commandId],
  });
  return rows[0]?.answer ?? undefined;
}

const clear = "delete from execution_commands where create_time < clock_timestamp() - $1 * interval '1 millisecond'";

/** Removes what replicas that died have left. */
export async function clearCommands(pool: Pool, ageMs: number): Promise<void> {
  await pool.query({ name: "clear_commands", text: clear, values: [ageMs] });
}

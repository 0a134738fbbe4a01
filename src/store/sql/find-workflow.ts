/** A workflow's head by id or by name. On the way of every start, hence prepared. */
import type { Pool } from "pg";
import { type WorkflowRow, workflowColumns } from "../workflow-row.ts";

const select = `select ${workflowColumns} from workflows where tenant_id = $1`;
const byId = `${select} and id = $2 and ($3 or delete_time is null)`;
const byName = `${select} and name = $2 and delete_time is null`;

/** A name finds only what is not deleted: many deleted workflows may have had it. */
export type WorkflowReference = { readonly uuid: string; readonly deletedToo: boolean } | { readonly name: string };

export async function findWorkflow(pool: Pool, tenantId: string, reference: WorkflowReference): Promise<WorkflowRow | undefined> {
  const query =
    "uuid" in reference
      ? { name: "find_workflow", text: byId, values: [tenantId, reference.uuid, reference.deletedToo] }
      : { name: "find_workflow_name", text: byName, values: [tenantId, reference.name] };
  return (await pool.query<WorkflowRow>(query)).rows[0];
}

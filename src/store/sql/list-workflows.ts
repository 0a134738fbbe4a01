/** A page of workflow heads, newest first. */
import type { ClientBase } from "pg";
import type { WorkflowStatus } from "../entities/workflow.ts";
import { likeName, type NameMatch } from "../listing.ts";
import { type WorkflowRow, workflowColumns } from "../workflow-row.ts";

export interface ListWorkflowsParameters {
  readonly states: readonly WorkflowStatus[] | undefined;
  readonly name: NameMatch | undefined;
  /** Template that the latest revision was rendered from. */
  readonly templateUuid: string | undefined;
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly deletedToo: boolean;
  readonly afterUuid: string | undefined;
  readonly limit: number;
}

export async function listWorkflows(client: ClientBase, tenantId: string, parameters: ListWorkflowsParameters): Promise<WorkflowRow[]> {
  const { states, name, templateUuid, labels, deletedToo, afterUuid, limit } = parameters;
  const values: unknown[] = [tenantId, limit];
  const conditions = ["w.tenant_id = $1"];
  const add = (value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  if (!deletedToo) conditions.push("w.delete_time is null");
  add(states, (place) => `w.state = any(${place}::text[])`);
  add(name && likeName(name), (place) => `w.name like ${place}`);
  add(labels && JSON.stringify(labels), (place) => `w.labels @> ${place}::jsonb`);
  add(
    templateUuid,
    (place) => `exists (select from workflow_revisions r where r.tenant_id = w.tenant_id and r.workflow_id = w.id
      and r.revision = w.latest_revision and r.template_id = ${place})`,
  );
  add(afterUuid, (place) => `w.id < ${place}`);
  const text = `select ${workflowColumns} from workflows w where ${conditions.join(" and ")} order by w.id desc limit $2`;
  return (await client.query<WorkflowRow>({ text, values })).rows;
}

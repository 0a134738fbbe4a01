/** How many executions match a filter, in all and by up to two fields. Reads every match, under the time limit of listings. */
import type { ClientBase } from "pg";
import { type ExecutionConditions, shownState, whereOf } from "../execution-conditions.ts";

export const countFields = [
  "state",
  "saga_state",
  "end_reason",
  "workflow_name",
  "workflow_id",
  "revision",
  "template_id",
  "failure.reason",
  "failed_step",
] as const;
export type CountField = (typeof countFields)[number];

/** A field, or the label of that key. */
export type CountBy = { readonly field: CountField } | { readonly label: string };

export interface CountRow {
  /** In the order of the fields; null where it is not set. */
  readonly values: readonly (string | null)[];
  readonly count: number;
}

const columns: Record<CountField, string> = {
  state: shownState,
  saga_state: "i.state",
  end_reason: "e.end_reason",
  workflow_name: "e.workflow_name",
  workflow_id: "e.workflow_id::text",
  revision: "e.revision::text",
  template_id: `(select r.template_id::text from workflow_revisions r
    where r.tenant_id = e.tenant_id and r.workflow_id = e.workflow_id and r.revision = e.revision)`,
  "failure.reason": "e.failure ->> 'name'",
  failed_step: "e.failed_step",
};

const from = "from workflow_executions e left join workflow_instances i on i.tenant_id = e.tenant_id and i.id = e.id";

export async function countExecutions(client: ClientBase, tenantId: string, conditions: ExecutionConditions): Promise<number> {
  const where = whereOf(tenantId, conditions);
  const { rows } = await client.query<{ count: string }>({ text: `select count(*) as count ${from} where ${where.text}`, values: [...where.values] });
  return Number(rows[0]?.count ?? 0);
}

/** Largest groups first. */
export async function countGroups(
  client: ClientBase,
  tenantId: string,
  conditions: ExecutionConditions,
  by: readonly CountBy[],
  groupsMax: number,
): Promise<CountRow[]> {
  const labels = by.flatMap((key) => ("label" in key ? key.label : []));
  const where = whereOf(tenantId, conditions, [groupsMax, ...labels]);
  let label = 1;
  const keys = by.map((key) => ("field" in key ? columns[key.field] : `e.labels ->> $${++label}::text`));
  const { rows } = await client.query<{ values: (string | null)[]; count: string }>({
    text: `select array[${keys.join(", ")}] as values, count(*) as count ${from} where ${where.text} group by 1 order by 2 desc, 1 limit $1`,
    values: [...where.values],
  });
  return rows.map(({ values, count }) => ({ values, count: Number(count) }));
}

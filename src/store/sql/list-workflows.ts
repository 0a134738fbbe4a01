/** A page of workflow heads in one of three orders, each with the id as the last key, so that no two stand at one place. */
import type { ClientBase } from "pg";
import type { WorkflowStatus } from "../entities/workflow.ts";
import { likeName, type NameMatch } from "../listing.ts";
import { type WorkflowRow, workflowColumns } from "../workflow-row.ts";

export const workflowOrders = ["create_time", "update_time", "name"] as const;
export type WorkflowOrderField = (typeof workflowOrders)[number];

export interface WorkflowConditions {
  readonly uuid?: string | undefined;
  readonly states?: readonly WorkflowStatus[] | undefined;
  readonly name?: NameMatch | undefined;
  readonly displayName?: NameMatch | undefined;
  /** Template that the latest revision was rendered from. */
  readonly templateUuid?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly times?:
    | readonly { readonly field: "create_time" | "update_time"; readonly operator: "=" | "<" | "<=" | ">" | ">="; readonly at: number }[]
    | undefined;
  readonly deletedToo: boolean;
}

export interface ListWorkflowsParameters extends WorkflowConditions {
  readonly order: { readonly field: WorkflowOrderField; readonly descending: boolean };
  /** Last one of the page before: its value of the order's field (milliseconds for times) and its id. */
  readonly after?: { readonly value: string | number; readonly uuid: string } | undefined;
  readonly limit: number;
}

export async function listWorkflows(client: ClientBase, tenantId: string, parameters: ListWorkflowsParameters): Promise<WorkflowRow[]> {
  const { order, after, limit } = parameters;
  const { conditions, values } = conditionsOf(tenantId, parameters);
  const direction = order.descending ? "desc" : "asc";
  const sign = order.descending ? "<" : ">";
  // Ids rise with the time of creation, and the primary key has them in order.
  const byId = order.field === "create_time";
  if (after && byId) {
    values.push(after.uuid);
    conditions.push(`w.id ${sign} $${values.length}`);
  } else if (after) {
    values.push(order.field === "name" ? after.value : new Date(after.value), after.uuid);
    conditions.push(`(w.${order.field}, w.id) ${sign} ($${values.length - 1}, $${values.length})`);
  }
  values.push(limit);
  const text = `select ${workflowColumns} from workflows w where ${conditions.join(" and ")}
    order by ${byId ? "" : `w.${order.field} ${direction}, `}w.id ${direction} limit $${values.length}`;
  return (await client.query<WorkflowRow>({ text, values })).rows;
}

export async function countWorkflows(client: ClientBase, tenantId: string, parameters: WorkflowConditions): Promise<number> {
  const { conditions, values } = conditionsOf(tenantId, parameters);
  const { rows } = await client.query<{ count: string }>({ text: `select count(*) as count from workflows w where ${conditions.join(" and ")}`, values });
  return Number(rows[0]?.count ?? 0);
}

function conditionsOf(tenantId: string, parameters: WorkflowConditions): { conditions: string[]; values: unknown[] } {
  const { uuid, states, name, displayName, templateUuid, labels, times = [], deletedToo } = parameters;
  const values: unknown[] = [tenantId];
  const conditions = ["w.tenant_id = $1"];
  const add = (value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  if (!deletedToo) conditions.push("w.delete_time is null");
  add(uuid, (place) => `w.id = ${place}::uuid`);
  add(states, (place) => `w.state = any(${place}::text[])`);
  add(name && likeName(name), (place) => `w.name like ${place}`);
  add(displayName && likeName(displayName), (place) => `w.display_name like ${place}`);
  add(labels && JSON.stringify(labels), (place) => `w.labels @> ${place}::jsonb`);
  for (const { field, operator, at } of times) add(new Date(at), (place) => `w.${field} ${operator} ${place}::timestamptz`);
  add(
    templateUuid,
    (place) => `exists (select from workflow_revisions r where r.tenant_id = w.tenant_id and r.workflow_id = w.id
      and r.revision = w.latest_revision and r.template_id = ${place}::uuid)`,
  );
  return { conditions, values };
}

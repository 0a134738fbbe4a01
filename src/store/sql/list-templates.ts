/** Template heads of one owner in a given order, behind a position; the built-in ones are read by a second call and merged. */
import type { ClientBase } from "pg";
import { addTemplateConditions, ConditionList, type TemplateConditions } from "../template-conditions.ts";
import { type TemplateRowWithUsage, templateColumns } from "../template-row.ts";
import { usageColumns } from "../usage-row.ts";

export type TemplateOrderKey = "create_time" | "update_time" | "name" | "usage_count" | "success_rate";

export interface TemplateOrder {
  readonly field: TemplateOrderKey;
  readonly descending: boolean;
}

/** The place of a row in an order: its value there (none for create_time, which the id tells), and its id. */
export interface TemplatePosition {
  readonly value: string | number | null;
  readonly uuid: string;
}

/**
 * What is compared, as text that SQL and JavaScript order alike: names are ASCII, times have milliseconds, and a rate is the same
 * division on both sides.
 */
const orders: Record<TemplateOrderKey, { readonly sql: string; readonly type: string }> = {
  create_time: { sql: "null", type: "text" },
  update_time: { sql: "t.update_time", type: "timestamptz" },
  name: { sql: `t.name collate "C"`, type: "text" },
  usage_count: { sql: "coalesce(u.started, 0)", type: "bigint" },
  success_rate: { sql: "coalesce(u.completed::float8 / nullif(u.ended, 0), 0)", type: "float8" },
};

export interface ListTemplatesParameters {
  readonly conditions: TemplateConditions;
  readonly order: TemplateOrder;
  readonly deletedToo: boolean;
  readonly after: TemplatePosition | undefined;
  readonly limit: number;
}

/** `owner` is the tenant whose templates are listed, `user` the one whose usage counts. */
export async function listTemplates(client: ClientBase, owner: string, user: string, parameters: ListTemplatesParameters): Promise<TemplateRowWithUsage[]> {
  const { conditions, order, deletedToo, after, limit } = parameters;
  const list = new ConditionList([owner, user, limit]);
  list.plain("t.tenant_id = $1");
  if (!deletedToo) list.plain("t.delete_time is null");
  addTemplateConditions(list, conditions);
  const { sql, type } = orders[order.field];
  const sign = order.descending ? "<" : ">";
  const direction = order.descending ? "desc" : "asc";
  const byId = order.field === "create_time";
  if (after && byId) list.add(after.uuid, (place) => `t.id ${sign} ${place}::uuid`);
  if (after && !byId) {
    list.values.push(after.value, after.uuid);
    list.plain(`(${sql}, t.id) ${sign} ($${list.values.length - 1}::${type}, $${list.values.length}::uuid)`);
  }
  const text = `select ${templateColumns}, ${usageColumns}, u.workflows
from workflow_templates t left join template_usage_totals u on u.tenant_id = $2 and u.template_id = t.id
where ${list.text} order by ${byId ? "" : `${sql} ${direction}, `}t.id ${direction} limit $3`;
  return (await client.query<TemplateRowWithUsage>({ text, values: list.values })).rows;
}

export async function countTemplates(client: ClientBase, owner: string, conditions: TemplateConditions, deletedToo: boolean): Promise<number> {
  const list = new ConditionList([owner]);
  list.plain("t.tenant_id = $1");
  if (!deletedToo) list.plain("t.delete_time is null");
  addTemplateConditions(list, conditions);
  const { rows } = await client.query<{ count: number }>({
    text: `select count(*) as count from workflow_templates t where ${list.text}`,
    values: list.values,
  });
  return rows[0]?.count ?? 0;
}

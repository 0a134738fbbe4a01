/**
 * A page of template heads in a given order, behind a position: a tenant's own and the built-in ones, of which those are left out
 * whose names it uses for templates of its own. Both halves are cut before they are merged, so each reads an index from its
 * place on.
 */
import type { ClientBase } from "pg";
import { addTemplateConditions, ConditionList, type TemplateConditions } from "../template-conditions.ts";
import { builtInTenant, type TemplateRowWithUsage, templateColumns } from "../template-row.ts";
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

/** What is compared; the position of the last item is made from the same values in JavaScript. Names are ASCII. */
const orders: Record<TemplateOrderKey, { readonly sql: string; readonly type: string }> = {
  create_time: { sql: "null::text", type: "text" },
  update_time: { sql: "t.update_time", type: "timestamptz" },
  name: { sql: `t.name collate "C"`, type: "text" },
  usage_count: { sql: "coalesce(u.started, 0)", type: "bigint" },
  success_rate: { sql: "coalesce(u.completed::float8 / nullif(u.ended, 0), 0)", type: "float8" },
};

export interface ListTemplatesParameters {
  readonly conditions: TemplateConditions;
  /** True: built-in ones only; false: own ones only. */
  readonly builtIn: boolean | undefined;
  readonly order: TemplateOrder;
  readonly deletedToo: boolean;
  readonly after: TemplatePosition | undefined;
  readonly limit: number;
  /** With drafts and all of the usage; else what orders need. */
  readonly whole: boolean;
}

/** Drafts and counts of durations may be large, and a list does not show them. */
const lightColumns = templateColumns.replace("t.draft", "null::json as draft");
const lightUsage = `u.started, u.ended, u.completed, '{}'::jsonb as durations, '{}'::jsonb as "failedSteps", u.last_start_time as "lastStartTime"`;

const notHidden = `not exists (select 1 from workflow_templates o where o.tenant_id = $1 and o.name = t.name and o.delete_time is null)`;

export async function listTemplates(client: ClientBase, tenantId: string, parameters: ListTemplatesParameters): Promise<TemplateRowWithUsage[]> {
  const { conditions, builtIn, order, deletedToo, after, limit, whole } = parameters;
  const list = new ConditionList([tenantId, limit]);
  addTemplateConditions(list, conditions);
  const { sql, type } = orders[order.field];
  const sign = order.descending ? "<" : ">";
  const direction = order.descending ? "desc" : "asc";
  const byId = order.field === "create_time";
  if (after && byId) list.add(after.uuid, (place) => `t.id ${sign} ${place}::uuid`);
  if (after && !byId) list.addPair(after.value, after.uuid, (value, uuid) => `(${sql}, t.id) ${sign} (${value}::${type}, ${uuid}::uuid)`);
  const half = (own: boolean): string => {
    const where = [
      own ? "t.tenant_id = $1" : `t.tenant_id = '${builtInTenant}' and ${notHidden}`,
      ...(own && deletedToo ? [] : ["t.delete_time is null"]),
      ...list.parts,
    ];
    return `(select ${whole ? templateColumns : lightColumns}, ${whole ? usageColumns : lightUsage}, u.workflows, ${sql} as place
from workflow_templates t left join template_usage_totals u on u.tenant_id = $1 and u.template_id = t.id
where ${where.join(" and ")} order by ${byId ? "" : `${sql} ${direction}, `}t.id ${direction} limit $2)`;
  };
  const halves = [...(builtIn === true ? [] : [half(true)]), ...(builtIn === false ? [] : [half(false)])];
  const text = `select * from (${halves.join("\nunion all\n")}) m order by ${byId ? "" : `m.place ${order.field === "name" ? 'collate "C" ' : ""}${direction}, `}m.id ${direction} limit $2`;
  return (await client.query<TemplateRowWithUsage>({ name: `list_templates ${list.shape(text)}`, text, values: list.values })).rows;
}

export async function countTemplates(
  client: ClientBase,
  tenantId: string,
  parameters: Pick<ListTemplatesParameters, "conditions" | "builtIn" | "deletedToo">,
): Promise<number> {
  const { conditions, builtIn, deletedToo } = parameters;
  const list = new ConditionList([tenantId]);
  addTemplateConditions(list, conditions);
  const own = ["t.tenant_id = $1", ...(deletedToo ? [] : ["t.delete_time is null"]), ...list.parts].join(" and ");
  const others = [`t.tenant_id = '${builtInTenant}' and t.delete_time is null and ${notHidden}`, ...list.parts].join(" and ");
  const either = [...(builtIn === true ? [] : [`(${own})`]), ...(builtIn === false ? [] : [`(${others})`])].join(" or ");
  const { rows } = await client.query<{ count: number }>({ text: `select count(*) as count from workflow_templates t where ${either}`, values: list.values });
  return rows[0]?.count ?? 0;
}

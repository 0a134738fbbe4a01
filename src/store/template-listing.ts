/**
 * Listings of templates: the tenant's own and the built-in ones in one order, page by page behind a position. A page goes on
 * after the place of its last item, so what is created or deleted meanwhile makes no other item appear twice or not at all. (An
 * item whose own place in the order moves, because it is changed or used meanwhile, is where it is when its page is read.)
 */
import type { Pool } from "pg";
import type { Caller } from "../base/caller.ts";
import { parseId } from "../base/ids.ts";
import { successRate } from "../domain/templates/usage-counts.ts";
import { guarded } from "./database-error.ts";
import { readListing } from "./listing.ts";
import { findVersions } from "./sql/find-versions.ts";
import { countTemplates, listTemplates, type TemplateOrder, type TemplateOrderKey, type TemplatePosition } from "./sql/list-templates.ts";
import { isStorable } from "./storable.ts";
import type { TemplateConditions } from "./template-conditions.ts";
import { builtInTenant, type TemplateRecord, type TemplateVersionRecord, toTemplateVersion, toTemplateWithUsage } from "./template-row.ts";

export interface TemplateFilter extends Omit<TemplateConditions, "uuid"> {
  readonly id?: string | undefined;
  /** True: built-in ones only; false: own ones only. */
  readonly builtIn?: boolean | undefined;
}

export interface ListTemplatesOptions {
  readonly pageSize: number;
  /** A `position` of an item of the page before. */
  readonly after?: string | undefined;
  readonly filter?: TemplateFilter | undefined;
  readonly order?: TemplateOrder | undefined;
  readonly showDeleted?: boolean | undefined;
  /** Read the latest version of each, too. */
  readonly withVersions?: boolean | undefined;
  readonly withTotal?: boolean | undefined;
}

export interface ListedTemplate {
  readonly template: TemplateRecord;
  /** The latest one, when it was asked for and there is one. */
  readonly version: TemplateVersionRecord | undefined;
  /** Where the next page begins when this is the last item of one. */
  readonly position: string;
}

export interface TemplatePage {
  readonly items: readonly ListedTemplate[];
  readonly more: boolean;
  readonly total: number | undefined;
}

const newestFirst: TemplateOrder = { field: "create_time", descending: true };
const nothing: TemplatePage = { items: [], more: false, total: 0 };

export async function readTemplatePage(pool: Pool, caller: Caller, options: ListTemplatesOptions): Promise<TemplatePage> {
  const { pageSize, filter = {}, order = newestFirst, showDeleted = false, withVersions = false } = options;
  const { id, builtIn, ...rest } = filter;
  const uuid = id === undefined ? undefined : parseId("template", id);
  if ((id !== undefined && !uuid) || !isStorable(Object.values(rest).filter((value) => value !== undefined))) return nothing;
  const conditions: TemplateConditions = { ...rest, uuid };
  const after = options.after === undefined ? undefined : (JSON.parse(options.after) as TemplatePosition);
  const { tenantId } = caller;
  return guarded(() =>
    readListing(pool, async (client) => {
      const parameters = { conditions, builtIn, order, deletedToo: showDeleted, after, limit: pageSize + 1, whole: withVersions };
      const rows = await listTemplates(client, tenantId, parameters);
      const page = rows.slice(0, pageSize);
      const keys = withVersions
        ? page.map((row) => ({ tenantId: row.builtIn ? builtInTenant : tenantId, templateUuid: row.id, version: row.latestVersion }))
        : [];
      const versions = new Map((await findVersions(client, keys)).map((version) => [version.templateId, version]));
      const total = options.withTotal ? await countTemplates(client, tenantId, parameters) : undefined;
      const items = page.map((row) => {
        const template = toTemplateWithUsage(row);
        const version = versions.get(row.id);
        return { template, version: version && toTemplateVersion(version), position: JSON.stringify(placeOf(row.id, template, order.field)) };
      });
      return { items, more: rows.length > pageSize, total };
    }),
  );
}

function placeOf(uuid: string, template: TemplateRecord, key: TemplateOrderKey): TemplatePosition {
  switch (key) {
    case "name":
      return { value: template.name, uuid };
    case "update_time":
      return { value: new Date(template.updatedAt).toISOString(), uuid };
    case "usage_count":
      return { value: template.usage?.started ?? 0, uuid };
    case "success_rate":
      return { value: template.usage ? successRate(template.usage) : 0, uuid };
    default:
      return { value: null, uuid };
  }
}

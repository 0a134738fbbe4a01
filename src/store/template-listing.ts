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
import { takenTemplateNames } from "./sql/taken-template-names.ts";
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

/** Far above what we ship. */
export const builtInsMax = 1_000;
const newestFirst: TemplateOrder = { field: "create_time", descending: true };
const nothing: TemplatePage = { items: [], more: false, total: 0 };

export async function readTemplatePage(pool: Pool, caller: Caller, options: ListTemplatesOptions): Promise<TemplatePage> {
  const { pageSize, filter = {}, order = newestFirst, showDeleted = false } = options;
  const { id, builtIn, ...rest } = filter;
  const uuid = id === undefined ? undefined : parseId("template", id);
  if ((id !== undefined && !uuid) || !isStorable(Object.values(rest).filter((value) => value !== undefined))) return nothing;
  const conditions: TemplateConditions = { ...rest, uuid };
  const after = options.after === undefined ? undefined : (JSON.parse(options.after) as TemplatePosition);
  return guarded(() =>
    readListing(pool, async (client) => {
      const parameters = { conditions, order, deletedToo: showDeleted, after };
      const own = builtIn === true ? [] : await listTemplates(client, caller.tenantId, caller.tenantId, { ...parameters, limit: pageSize + 1 });
      // All built-in ones that match: a few dozen at most, and those that are hidden must not shorten the page.
      const all =
        builtIn === false ? [] : await listTemplates(client, builtInTenant, caller.tenantId, { ...parameters, deletedToo: false, limit: builtInsMax });
      const hidden = await takenTemplateNames(
        client,
        caller.tenantId,
        all.map(({ name }) => name),
      );
      const places = [
        ...own.map((row) => ({ row, owner: caller.tenantId })),
        ...all.filter(({ name }) => !hidden.has(name)).map((row) => ({ row, owner: builtInTenant })),
      ]
        .map(({ row, owner }) => ({ row, owner, template: toTemplateWithUsage(row) }))
        .map((found) => ({ ...found, place: placeOf(found.row.id, found.template, order.field) }))
        .sort((a, b) => (order.descending ? -1 : 1) * comparePlaces(a.place, b.place));
      const page = places.slice(0, pageSize);
      const keys = options.withVersions ? page.map(({ row, owner }) => ({ tenantId: owner, templateUuid: row.id, version: row.latestVersion })) : [];
      const versions = new Map((await findVersions(client, keys)).map((version) => [version.templateId, version]));
      const total = options.withTotal ? await count(client, caller, conditions, builtIn, showDeleted) : undefined;
      return {
        items: page.map(({ row, template, place }) => {
          const version = versions.get(row.id);
          return { template, version: version && toTemplateVersion(version), position: JSON.stringify(place) };
        }),
        more: places.length > pageSize,
        total,
      };
    }),
  );
}

type Client = Parameters<typeof countTemplates>[0];

async function count(client: Client, caller: Caller, conditions: TemplateConditions, builtIn: boolean | undefined, showDeleted: boolean): Promise<number> {
  const own = builtIn === true ? 0 : await countTemplates(client, caller.tenantId, conditions, showDeleted);
  if (builtIn === false) return own;
  const parameters = { conditions, order: newestFirst, deletedToo: false, after: undefined, limit: builtInsMax };
  const names = (await listTemplates(client, builtInTenant, caller.tenantId, parameters)).map(({ name }) => name);
  return own + names.length - (await takenTemplateNames(client, caller.tenantId, names)).size;
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

/** Values of one order are of one type; uuids in lower case compare as text. */
function comparePlaces(a: TemplatePosition, b: TemplatePosition): number {
  if (a.value !== b.value && a.value !== null && b.value !== null) return a.value < b.value ? -1 : 1;
  return a.uuid < b.uuid ? -1 : 1;
}

/**
 * Reads of templates. A tenant sees its own and the built-in ones (tenant `system`); an own name hides the built-in template of
 * that name. A template of another tenant reads exactly like one that does not exist: undefined.
 *
 * A template is referred to by id (`tpl_…`) or, unless it is deleted, by name.
 */
import type { Caller } from "../base/caller.ts";
import { type IdSource, parseId, systemIds } from "../base/ids.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { importTemplates, type TemplateImport } from "./import-templates.ts";
import { readListing } from "./listing.ts";
import { type CategoryCountRow, countCategories } from "./sql/count-categories.ts";
import { type FoundTemplateRow, findTemplate, type TemplateReference } from "./sql/find-template.ts";
import { findTemplateVersion } from "./sql/find-template-version.ts";
import { countTemplateVersions, listTemplateVersions } from "./sql/list-template-versions.ts";
import { isStorable } from "./storable.ts";
import { changeTemplates, type TemplateChanges } from "./template-changes.ts";
import { type DescendantPage, type DescendantsOptions, readDescendants } from "./template-descendants.ts";
import { type ListTemplatesOptions, readTemplatePage, type TemplatePage } from "./template-listing.ts";
import { type TemplateRecord, type TemplateVersionRecord, toTemplateVersion, toTemplateWithUsage } from "./template-row.ts";
import { VersionCache } from "./version-cache.ts";

export type { TemplateFilter } from "./template-listing.ts";

export interface NameCount {
  readonly name: string;
  readonly count: number;
}

export interface TemplateWithVersion {
  readonly template: TemplateRecord;
  /** Undefined while nothing was published. */
  readonly version: TemplateVersionRecord | undefined;
}

export interface VersionPage {
  readonly versions: readonly TemplateVersionRecord[];
  readonly total: number | undefined;
}

export interface TemplateRepository extends TemplateChanges {
  /** All of them or none; with `dryRun` it is only tried. @throws AppError NAME_TAKEN, ETAG_MISMATCH */
  importTemplates(caller: Caller, imports: readonly TemplateImport[], dryRun: boolean): Promise<void>;
  /** The head and `version` (default: the latest). The version is undefined when there is none with that number. */
  getTemplate(
    caller: Caller,
    reference: string,
    options?: { readonly version?: number | undefined; readonly showDeleted?: boolean | undefined },
  ): Promise<TemplateWithVersion | undefined>;
  /** Own and built-in together, newest first unless told otherwise. @throws AppError DEADLINE_EXCEEDED after 5 s */
  listTemplates(caller: Caller, options: ListTemplatesOptions): Promise<TemplatePage>;
  /** Newest first, those below `beforeVersion`, with their content unless only `head`s are wanted; the page is full when more may follow. */
  listVersions(
    caller: Caller,
    reference: string,
    options: {
      readonly pageSize: number;
      readonly beforeVersion?: number | undefined;
      readonly withTotal?: boolean | undefined;
      readonly parts?: "content" | "head" | undefined;
    },
  ): Promise<VersionPage>;
  /** What comes from a template, by its id. @throws AppError DEADLINE_EXCEEDED after 5 s */
  listDescendants(caller: Caller, templateId: string, options: DescendantsOptions): Promise<DescendantPage>;
  /** Of the templates that the caller sees, by name. */
  listCategories(caller: Caller): Promise<{ readonly categories: readonly NameCount[]; readonly tags: readonly NameCount[] }>;
}

const versionMax = 2_147_483_647;

export function createTemplateRepository(
  database: Pick<Database, "orm" | "pool">,
  ids: IdSource = systemIds,
  versions: VersionCache = new VersionCache(),
): TemplateRepository {
  const { pool } = database;

  async function find(caller: Caller, reference: string, deletedToo: boolean): Promise<FoundTemplateRow | undefined> {
    const target = parseReference(reference, deletedToo);
    return target && guarded(() => findTemplate(pool, caller.tenantId, target));
  }

  return {
    ...changeTemplates(database, ids),

    importTemplates: (caller, imports, dryRun) => importTemplates(database, caller, imports, dryRun),

    async getTemplate(caller, reference, { version, showDeleted = false } = {}) {
      const row = await find(caller, reference, showDeleted);
      if (!row) return undefined;
      const known = version === undefined || (Number.isInteger(version) && version > 0 && version <= versionMax);
      const number = version ?? row.latestVersion;
      const read = async (): Promise<TemplateVersionRecord | undefined> => {
        const found = await guarded(() => findTemplateVersion(pool, row.tenantId, row.id, number));
        return found && toTemplateVersion(found);
      };
      const key = { kind: "template", tenantId: row.tenantId, id: row.id, version: number };
      return { template: toTemplateWithUsage(row), version: known && number > 0 ? await versions.get(key, read) : undefined };
    },

    listTemplates: (caller, options) => readTemplatePage(pool, caller, options),

    async listVersions(caller, reference, { pageSize, beforeVersion = versionMax, withTotal = false, parts = "content" }) {
      const row = await find(caller, reference, true);
      if (!row) return { versions: [], total: 0 };
      return guarded(() =>
        readListing(pool, async (client) => ({
          versions: (await listTemplateVersions(client, row.tenantId, row.id, beforeVersion, pageSize, parts)).map(toTemplateVersion),
          total: withTotal ? await countTemplateVersions(client, row.tenantId, row.id) : undefined,
        })),
      );
    },

    async listDescendants(caller, templateId, options) {
      const uuid = parseId("template", templateId);
      return uuid ? readDescendants(pool, caller, uuid, options) : { items: [], more: false, total: 0 };
    },

    async listCategories({ tenantId }) {
      const rows = await guarded(() => readListing(pool, (client) => countCategories(client, tenantId)));
      return { categories: countsOf(rows, "category"), tags: countsOf(rows, "tag") };
    },
  };
}

function countsOf(rows: readonly CategoryCountRow[], kind: CategoryCountRow["kind"]): NameCount[] {
  const counts = rows.filter((row) => row.kind === kind).map(({ name, count }) => ({ name, count }));
  return counts.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function parseReference(reference: string, deletedToo: boolean): TemplateReference | undefined {
  const uuid = parseId("template", reference);
  if (uuid) return { uuid, deletedToo };
  return isStorable(reference) ? { name: reference } : undefined;
}

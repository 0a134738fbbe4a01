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
import { type NameMatch, type Page, pageOf, readListing } from "./listing.ts";
import { type CategoryCountRow, countCategories } from "./sql/count-categories.ts";
import { type FoundTemplateRow, findTemplate, type TemplateReference } from "./sql/find-template.ts";
import { findTemplateVersion } from "./sql/find-template-version.ts";
import { listTemplateVersions } from "./sql/list-template-versions.ts";
import { listTemplates } from "./sql/list-templates.ts";
import { takenTemplateNames } from "./sql/taken-template-names.ts";
import { isStorable } from "./storable.ts";
import { changeTemplates, type TemplateChanges } from "./template-changes.ts";
import { builtInTenant, type TemplateRecord, type TemplateRow, type TemplateVersionRecord, toTemplate, toTemplateVersion } from "./template-row.ts";

export interface TemplateFilter {
  readonly category?: string | undefined;
  /** All of these. */
  readonly tags?: readonly string[] | undefined;
  readonly name?: NameMatch | undefined;
  /** True: built-in ones only; false: own ones only. */
  readonly builtIn?: boolean | undefined;
}

export interface ListTemplatesOptions {
  readonly pageSize: number;
  readonly afterId?: string | undefined;
  readonly filter?: TemplateFilter | undefined;
  readonly showDeleted?: boolean | undefined;
}

export interface NameCount {
  readonly name: string;
  readonly count: number;
}

export interface TemplateWithVersion {
  readonly template: TemplateRecord;
  /** Undefined while nothing was published. */
  readonly version: TemplateVersionRecord | undefined;
}

export interface TemplateRepository extends TemplateChanges {
  /** The head and `version` (default: the latest). The version is undefined when there is none with that number. */
  getTemplate(
    caller: Caller,
    reference: string,
    options?: { readonly version?: number | undefined; readonly showDeleted?: boolean | undefined },
  ): Promise<TemplateWithVersion | undefined>;
  /** Newest first, own and built-in together. @throws AppError DEADLINE_EXCEEDED after 5 s */
  listTemplates(caller: Caller, options: ListTemplatesOptions): Promise<Page<TemplateRecord>>;
  /** Newest first, those below `beforeVersion`, with their content; the page is full when more may follow. */
  listVersions(
    caller: Caller,
    reference: string,
    options: { readonly pageSize: number; readonly beforeVersion?: number | undefined },
  ): Promise<TemplateVersionRecord[]>;
  /** Of the templates that the caller sees, by name. */
  listCategories(caller: Caller): Promise<{ readonly categories: readonly NameCount[]; readonly tags: readonly NameCount[] }>;
}

const versionMax = 2_147_483_647;

export function createTemplateRepository(database: Pick<Database, "orm" | "pool">, ids: IdSource = systemIds): TemplateRepository {
  const { pool } = database;

  async function find(caller: Caller, reference: string, deletedToo: boolean): Promise<FoundTemplateRow | undefined> {
    const target = parseReference(reference, deletedToo);
    return target && guarded(() => findTemplate(pool, caller.tenantId, target));
  }

  return {
    ...changeTemplates(database, ids),

    async getTemplate(caller, reference, { version, showDeleted = false } = {}) {
      const row = await find(caller, reference, showDeleted);
      if (!row) return undefined;
      const known = version === undefined || (Number.isInteger(version) && version > 0 && version <= versionMax);
      const found = known ? await guarded(() => findTemplateVersion(pool, row.tenantId, row.id, version)) : undefined;
      return { template: toTemplate(row), version: found && toTemplateVersion(found) };
    },

    async listTemplates(caller, { pageSize, afterId, filter = {}, showDeleted = false }) {
      const { category, tags, name, builtIn } = filter;
      const afterUuid = afterId === undefined ? undefined : parseId("template", afterId);
      const unknown = afterId !== undefined && !afterUuid;
      if (unknown || ![category ?? "", name?.text ?? "", ...(tags ?? [])].every(isStorable)) return { items: [], nextAfterId: undefined };
      const parameters = { category, tags, name, deletedToo: showDeleted, afterUuid, limit: pageSize + 1 };
      const rows = await guarded(() =>
        readListing(pool, async (client) => {
          const own = builtIn === true ? [] : await listTemplates(client, caller.tenantId, parameters);
          if (builtIn === false) return own;
          // All built-in ones that match: a few dozen at most, and those that are hidden must not shorten the page.
          const all = await listTemplates(client, builtInTenant, { ...parameters, deletedToo: false, limit: builtInsMax });
          const hidden = await takenTemplateNames(
            client,
            caller.tenantId,
            all.map(({ name }) => name),
          );
          return mergeById(
            own,
            all.filter(({ name }) => !hidden.has(name)),
          );
        }),
      );
      return pageOf(rows.slice(0, pageSize + 1), pageSize, toTemplate);
    },

    async listVersions(caller, reference, { pageSize, beforeVersion = versionMax }) {
      const row = await find(caller, reference, true);
      if (!row) return [];
      const rows = await guarded(() => readListing(pool, (client) => listTemplateVersions(client, row.tenantId, row.id, beforeVersion, pageSize)));
      return rows.map(toTemplateVersion);
    },

    async listCategories(caller) {
      return guarded(() =>
        readListing(pool, async (client) => {
          const builtIns = await listTemplates(client, builtInTenant, { ...everything, limit: builtInsMax });
          const hidden = await takenTemplateNames(
            client,
            caller.tenantId,
            builtIns.map(({ name }) => name),
          );
          const rows = [...(await countCategories(client, caller.tenantId, [])), ...(await countCategories(client, builtInTenant, [...hidden]))];
          return { categories: sumUp(rows, "category"), tags: sumUp(rows, "tag") };
        }),
      );
    },
  };
}

/** Far above what we ship. */
const builtInsMax = 1_000;
const everything = { category: undefined, tags: undefined, name: undefined, deletedToo: false, afterUuid: undefined };

/** Two lists in descending order of id become one. Plain text comparison of uuids in lower case is their order. */
function mergeById(left: readonly TemplateRow[], right: readonly TemplateRow[]): TemplateRow[] {
  return [...left, ...right].sort((a, b) => (a.id < b.id ? 1 : -1));
}

function sumUp(rows: readonly CategoryCountRow[], kind: CategoryCountRow["kind"]): NameCount[] {
  const counts = new Map<string, number>();
  for (const row of rows) if (row.kind === kind) counts.set(row.name, (counts.get(row.name) ?? 0) + row.count);
  return [...counts].map(([name, count]) => ({ name, count })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function parseReference(reference: string, deletedToo: boolean): TemplateReference | undefined {
  const uuid = parseId("template", reference);
  if (uuid) return { uuid, deletedToo };
  return isStorable(reference) ? { name: reference } : undefined;
}

/**
 * Templates and their versions, as they leave the store.
 *
 * SQL names its columns as the entities do, so a row that was selected and an entity that was just written go through the
 * same function: ids leave in text form with their prefix, moments as milliseconds, absent values as undefined.
 */
import { formatId } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import { reservedTenant } from "../domain/tenant.ts";
import type { TemplateStatus, WorkflowTemplate } from "./entities/workflow-template.ts";
import type { WorkflowTemplateVersion } from "./entities/workflow-template-version.ts";
import { type TotalUsage, toUsage, type UsageRow } from "./usage-row.ts";
import type { Labels } from "./workflow-row.ts";

/** Owner of the built-in templates, which every tenant sees. No key can belong to it. */
export const builtInTenant = reservedTenant;

export interface TemplateRecord {
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly category: string;
  readonly tags: readonly string[];
  readonly state: TemplateStatus;
  readonly builtIn: boolean;
  /** 0 while nothing was published. */
  readonly latestVersion: number;
  /** Content that is not published yet. */
  readonly draft: JsonObject | undefined;
  readonly labels: Labels;
  readonly etag: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly deletedAt: number | undefined;
  /** By the caller's tenant, as of the last rollup; undefined where it was not read or was never used. */
  readonly usage?: TotalUsage | undefined;
}

export interface TemplateVersionRecord {
  readonly templateId: string;
  readonly version: number;
  /** As its author wrote it; the version of its base is fixed. */
  readonly content: JsonObject;
  /** Its inheritance flattened (see `readResolved`); undefined when it inherits nothing. */
  readonly resolved: JsonObject | undefined;
  readonly digest: string;
  readonly changeNote: string;
  readonly publisher: string;
  readonly publishedAt: number;
}

export type TemplateRow = Omit<Pick<WorkflowTemplate, keyof WorkflowTemplate>, "tenantId">;
/** Of a table or alias `t`. */
export const templateColumns = `t.id, t.name, t.display_name as "displayName", t.description, t.category, t.tags, t.state, t.built_in as "builtIn",
  t.latest_version as "latestVersion", t.draft, t.bases, t.labels, t.etag, t.create_time as "createTime", t.update_time as "updateTime",
  t.delete_time as "deleteTime"`;

/** With the tenant's usage beside it, where the statement reads it (`u`, null where there is none). */
export type TemplateRowWithUsage = TemplateRow & { readonly [Name in keyof UsageRow]: UsageRow[Name] | null } & { readonly workflows: number | null };

export function toTemplateWithUsage({ workflows, ...row }: TemplateRowWithUsage): TemplateRecord {
  return { ...toTemplate(row), usage: row.started === null ? undefined : { ...toUsage(row as UsageRow), workflows: workflows ?? 0 } };
}

export function toTemplate(row: TemplateRow): TemplateRecord {
  return {
    id: formatId("template", row.id),
    name: row.name,
    displayName: row.displayName,
    description: row.description,
    category: row.category,
    tags: row.tags,
    state: row.state,
    builtIn: row.builtIn,
    latestVersion: row.latestVersion,
    draft: row.draft ?? undefined,
    labels: row.labels,
    etag: row.etag,
    createdAt: row.createTime.getTime(),
    updatedAt: row.updateTime.getTime(),
    deletedAt: row.deleteTime?.getTime(),
  };
}

export type TemplateVersionRow = Omit<Pick<WorkflowTemplateVersion, keyof WorkflowTemplateVersion>, "tenantId">;
export const templateVersionColumns = `template_id as "templateId", version, content, resolved, bases, digest, change_note as "changeNote", publisher, publish_time as "publishTime"`;

/** What is read of a version: all of it; without its resolved form; without its content too. */
export type VersionParts = "all" | "content" | "head";

export function versionColumnsOf(parts: VersionParts): string {
  const lighter = parts === "all" ? templateVersionColumns : templateVersionColumns.replace(", resolved,", ", null::json as resolved,");
  return parts === "head" ? lighter.replace(", content,", ", '{}'::json as content,") : lighter;
}

export function toTemplateVersion(row: TemplateVersionRow): TemplateVersionRecord {
  return {
    templateId: formatId("template", row.templateId),
    version: row.version,
    content: row.content,
    resolved: row.resolved ?? undefined,
    digest: row.digest,
    changeNote: row.changeNote,
    publisher: row.publisher,
    publishedAt: row.publishTime.getTime(),
  };
}

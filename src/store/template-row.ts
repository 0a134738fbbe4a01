/**
 * Templates and their versions, as they leave the store.
 *
 * SQL names its columns as the entities do, so a row that was selected and an entity that was just written go through the
 * same function: ids leave in text form with their prefix, moments as milliseconds, absent values as undefined.
 */
import { formatId } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import type { TemplateStatus, WorkflowTemplate } from "./entities/workflow-template.ts";
import type { WorkflowTemplateVersion } from "./entities/workflow-template-version.ts";
import type { Labels } from "./workflow-row.ts";

/** Owner of the built-in templates, which every tenant sees. No key can belong to it. */
export const builtInTenant = "system";

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
}

export interface TemplateVersionRecord {
  readonly templateId: string;
  readonly version: number;
  readonly content: JsonObject;
  readonly digest: string;
  readonly changeNote: string;
  readonly publisher: string;
  readonly publishedAt: number;
}

export type TemplateRow = Omit<Pick<WorkflowTemplate, keyof WorkflowTemplate>, "tenantId">;
export const templateColumns = `id, name, display_name as "displayName", description, category, tags, state, built_in as "builtIn",
  latest_version as "latestVersion", draft, labels, etag, create_time as "createTime", update_time as "updateTime", delete_time as "deleteTime"`;

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
export const templateVersionColumns = `template_id as "templateId", version, content, digest, change_note as "changeNote", publisher, publish_time as "publishTime"`;

export function toTemplateVersion(row: TemplateVersionRow): TemplateVersionRecord {
  return {
    templateId: formatId("template", row.templateId),
    version: row.version,
    content: row.content,
    digest: row.digest,
    changeNote: row.changeNote,
    publisher: row.publisher,
    publishedAt: row.publishTime.getTime(),
  };
}

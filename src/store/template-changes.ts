/**
 * What creates and changes a tenant's own templates; the built-in ones are written by `built-in-templates.ts` alone. Published
 * versions never change. Each change locks the head and compares the etag. Undefined means: no such template.
 */
import { type EntityManager, LockMode } from "@mikro-orm/postgresql";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { type IdSource, parseId } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import type { Database } from "./database.ts";
import { guarded, isUniqueViolation } from "./database-error.ts";
import { databaseNow } from "./database-now.ts";
import { WorkflowTemplate } from "./entities/workflow-template.ts";
import { WorkflowTemplateVersion } from "./entities/workflow-template-version.ts";
import { checkEtag, digestOf, etagOf } from "./fingerprint.ts";
import { nameTaken } from "./new-revision.ts";
import { assertStorable, isStorable } from "./storable.ts";
import { builtInTenant, type TemplateRecord, type TemplateVersionRecord, toTemplate, toTemplateVersion } from "./template-row.ts";
import type { Labels } from "./workflow-row.ts";

export interface NewTemplate {
  readonly name: string;
  readonly displayName?: string | undefined;
  readonly description?: string | undefined;
  readonly category: string;
  readonly tags?: readonly string[] | undefined;
  readonly labels?: Labels | undefined;
  /** Definition, parameters schema, base and overrides, as one opaque value. */
  readonly content: JsonObject;
  /** Whether to publish it as version 1 (default) or to keep it as a draft. */
  readonly publish?: boolean | undefined;
  readonly changeNote?: string | undefined;
}

/** Absent fields stay as they are. */
export interface TemplateUpdate {
  readonly etag?: string | undefined;
  readonly displayName?: string | undefined;
  readonly description?: string | undefined;
  readonly category?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly labels?: Labels | undefined;
  readonly deprecated?: boolean | undefined;
  /** Becomes the next version, or the draft when `publish` is false. Equal to the latest version: nothing is published. */
  readonly content?: JsonObject | undefined;
  readonly publish?: boolean | undefined;
  readonly changeNote?: string | undefined;
}

export interface TemplateChanges {
  /** @throws AppError NAME_TAKEN (built-in names may be used: the own template hides the built-in one) */
  createTemplate(caller: Caller, input: NewTemplate): Promise<{ readonly template: TemplateRecord; readonly version: TemplateVersionRecord | undefined }>;
  /** @throws AppError TEMPLATE_BUILT_IN, ETAG_MISMATCH */
  updateTemplate(caller: Caller, reference: string, update: TemplateUpdate): Promise<TemplateRecord | undefined>;
  /** The draft becomes the next version. @throws AppError NOTHING_TO_PUBLISH, TEMPLATE_BUILT_IN, ETAG_MISMATCH */
  publishTemplate(
    caller: Caller,
    reference: string,
    options?: { readonly etag?: string | undefined; readonly changeNote?: string | undefined },
  ): Promise<TemplateRecord | undefined>;
  /** Soft: the name is free at once, versions stay readable. @throws AppError TEMPLATE_BUILT_IN, ETAG_MISMATCH */
  deleteTemplate(caller: Caller, reference: string, options?: { readonly etag?: string | undefined }): Promise<TemplateRecord | undefined>;
  /** Takes an id. @throws AppError NAME_TAKEN, ETAG_MISMATCH */
  undeleteTemplate(caller: Caller, templateId: string, options?: { readonly etag?: string | undefined }): Promise<TemplateRecord | undefined>;
}

export function changeTemplates({ orm }: Pick<Database, "orm">, ids: IdSource): TemplateChanges {
  const onHead = (
    caller: Caller,
    reference: string,
    options: { readonly etag?: string | undefined; readonly deletedToo?: boolean },
    change: (head: WorkflowTemplate, em: EntityManager) => Promise<void> | void,
  ): Promise<TemplateRecord | undefined> =>
    guarded(() =>
      orm.em.fork().transactional(async (em) => {
        const head = await lockHead(em, caller.tenantId, reference, options.deletedToo ?? false);
        if (!head) return undefined;
        checkEtag(options.etag, head.etag);
        await change(head, em);
        const etag = templateEtag(head);
        if (etag === head.etag) return toTemplate(head);
        head.etag = etag;
        head.updateTime = databaseNow();
        await flush(em, head.name);
        return toTemplate(head);
      }),
    );

  return {
    async createTemplate(caller, input) {
      assertStorable(input);
      const em = orm.em.fork();
      const publish = input.publish ?? true;
      const head = em.create(WorkflowTemplate, {
        tenantId: caller.tenantId,
        id: parseId("template", ids.next("template")) as string,
        name: input.name,
        displayName: input.displayName ?? "",
        description: input.description ?? "",
        category: input.category,
        tags: [...(input.tags ?? [])],
        state: "draft",
        draft: publish ? null : input.content,
        labels: { ...input.labels },
        latestVersion: 0,
        etag: "",
      });
      const version = publish ? addVersion(em, head, input.content, input.changeNote, caller.actor) : undefined;
      head.etag = templateEtag(head);
      await guarded(() => flush(em, input.name));
      return { template: toTemplate(head), version: version && toTemplateVersion(version) };
    },

    updateTemplate: (caller, reference, update) =>
      onHead(caller, reference, update, async (head, em) => {
        assertStorable(update);
        if (update.displayName !== undefined) head.displayName = update.displayName;
        if (update.description !== undefined) head.description = update.description;
        if (update.category !== undefined) head.category = update.category;
        if (update.tags !== undefined) head.tags = [...update.tags];
        if (update.labels !== undefined) head.labels = { ...update.labels };
        if (update.deprecated !== undefined && head.latestVersion > 0) head.state = update.deprecated ? "deprecated" : "published";
        if (update.content === undefined) return;
        if (update.publish === false) head.draft = update.content;
        else await publish(em, head, update.content, update.changeNote, caller.actor);
      }),

    publishTemplate: (caller, reference, { etag, changeNote } = {}) =>
      onHead(caller, reference, { etag }, async (head, em) => {
        assertStorable({ changeNote });
        if (head.draft == null) throw new AppError("NOTHING_TO_PUBLISH", "the template has no draft; update it with draft_only first");
        await publish(em, head, head.draft, changeNote, caller.actor);
      }),

    deleteTemplate: (caller, reference, options = {}) =>
      onHead(caller, reference, options, (head) => {
        head.state = "deleted";
        head.deleteTime = databaseNow();
      }),

    undeleteTemplate: (caller, templateId, options = {}) =>
      onHead(caller, templateId, { ...options, deletedToo: true }, (head) => {
        if (head.state !== "deleted") return;
        head.state = head.latestVersion > 0 ? "published" : "draft";
        head.deleteTime = null;
      }),
  };
}

/** The next version of a head, which becomes published by it. */
export function addVersion(
  em: EntityManager,
  head: WorkflowTemplate,
  content: JsonObject,
  changeNote: string | undefined,
  publisher: string,
): WorkflowTemplateVersion {
  head.latestVersion += 1;
  if (head.state === "draft") head.state = "published";
  return em.create(WorkflowTemplateVersion, {
    tenantId: head.tenantId,
    templateId: head.id,
    version: head.latestVersion,
    content,
    digest: digestOf(content),
    changeNote: changeNote ?? "",
    publisher,
  });
}

/** Everything a caller can change. */
export function templateEtag(head: WorkflowTemplate): string {
  const { name, displayName, description, category, tags, state, latestVersion, draft, labels } = head;
  return etagOf({ name, displayName, description, category, tags, state, latestVersion, draft: draft ?? null, labels });
}

async function publish(em: EntityManager, head: WorkflowTemplate, content: JsonObject, changeNote: string | undefined, publisher: string): Promise<void> {
  const latest = await em.findOne(WorkflowTemplateVersion, { tenantId: head.tenantId, templateId: head.id, version: head.latestVersion });
  head.draft = null;
  if (latest?.digest !== digestOf(content)) addVersion(em, head, content, changeNote, publisher);
}

async function lockHead(em: EntityManager, tenantId: string, reference: string, deletedToo: boolean): Promise<WorkflowTemplate | undefined> {
  const id = parseId("template", reference);
  if (!id && !isStorable(reference)) return undefined;
  const where = (owner: string) => (id ? { tenantId: owner, id } : { tenantId: owner, name: reference, deleteTime: null });
  const head = await em.findOne(WorkflowTemplate, where(tenantId), { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (head && !head.builtIn) return deletedToo || head.deleteTime == null ? head : undefined;
  if (head || (await em.count(WorkflowTemplate, { ...where(builtInTenant), deleteTime: null })) > 0) {
    throw new AppError("TEMPLATE_BUILT_IN", "built-in templates are read only; create your own from a copy of it");
  }
  return undefined;
}

async function flush(em: EntityManager, name: string): Promise<void> {
  try {
    await em.flush();
  } catch (error) {
    throw isUniqueViolation(error, "workflow_templates_name_key") ? nameTaken(name) : error;
  }
}

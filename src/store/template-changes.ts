/**
 * What creates and changes a tenant's own templates; the built-in ones are written by `built-in-templates.ts` alone. Published
 * versions never change. Each change locks the head and compares the etag. Undefined means: no such template.
 */
import { type EntityManager, LockMode } from "@mikro-orm/postgresql";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { type IdSource, parseId } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import type { ResolvedTemplate } from "../domain/templates/resolve-template.ts";
import type { Database } from "./database.ts";
import { guarded, isUniqueViolation } from "./database-error.ts";
import { databaseNow } from "./database-now.ts";
import { WorkflowTemplate } from "./entities/workflow-template.ts";
import { WorkflowTemplateVersion } from "./entities/workflow-template-version.ts";
import { checkEtag } from "./fingerprint.ts";
import { nameTaken } from "./new-revision.ts";
import { addVersion, basesOf, copyVersion, keepDraft, publishContent, templateEtag } from "./new-template-version.ts";
import { assertStorable, isStorable } from "./storable.ts";
import { builtInTenant, type TemplateRecord, type TemplateVersionRecord, toTemplate, toTemplateVersion } from "./template-row.ts";
import { withEntities } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";
import type { Labels } from "./workflow-row.ts";

/** What a template says, with the versions of its bases fixed. */
export interface NewContent {
  /** Definition, parameters schema, base and overrides, as one opaque value. */
  readonly content: JsonObject;
  /** Set when it inherits. */
  readonly resolved?: ResolvedTemplate | undefined;
  /** The base was chosen now, so it must not be deleted; its pinned version may be used on after that. */
  readonly newBase?: boolean | undefined;
}

export interface NewTemplate extends NewContent {
  readonly dryRun?: boolean | undefined;
  readonly name: string;
  readonly displayName?: string | undefined;
  readonly description?: string | undefined;
  readonly category: string;
  readonly tags?: readonly string[] | undefined;
  readonly labels?: Labels | undefined;
  /** Whether to publish it as version 1 (default) or to keep it as a draft. */
  readonly publish?: boolean | undefined;
  readonly changeNote?: string | undefined;
}

/** Absent fields stay as they are. */
export interface TemplateUpdate extends Partial<NewContent>, ChangeOptions {
  readonly name?: string | undefined;
  readonly displayName?: string | undefined;
  readonly description?: string | undefined;
  readonly category?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly labels?: Labels | undefined;
  readonly deprecated?: boolean | undefined;
  /** `content` becomes the next version (default; nothing is published when it equals the latest one), or the draft. */
  readonly publish?: boolean | undefined;
  readonly changeNote?: string | undefined;
}

export interface ChangeOptions {
  readonly etag?: string | undefined;
  /** Check everything, then take it back. */
  readonly dryRun?: boolean | undefined;
}

export interface ChangedTemplate {
  readonly template: TemplateRecord;
  /** The latest version; undefined while nothing was published. */
  readonly version: TemplateVersionRecord | undefined;
}

export interface TemplateChanges {
  /** @throws AppError NAME_TAKEN (built-in names may be used: the own template hides the built-in one), TEMPLATE_NOT_FOUND (a base deleted meanwhile) */
  createTemplate(caller: Caller, input: NewTemplate): Promise<ChangedTemplate>;
  /** @throws AppError TEMPLATE_BUILT_IN, ETAG_MISMATCH, NAME_TAKEN, TEMPLATE_NOT_FOUND (a base deleted meanwhile) */
  updateTemplate(caller: Caller, reference: string, update: TemplateUpdate): Promise<ChangedTemplate | undefined>;
  /** A version whose content is that of an old one. @throws AppError TEMPLATE_VERSION_NOT_FOUND, NOTHING_TO_PUBLISH, TEMPLATE_BUILT_IN, ETAG_MISMATCH */
  rollbackTemplate(
    caller: Caller,
    reference: string,
    version: number,
    options?: ChangeOptions & { readonly changeNote?: string | undefined },
  ): Promise<ChangedTemplate | undefined>;
  /**
   * Soft: the name is free at once, versions stay readable.
   * @throws AppError TEMPLATE_BUILT_IN, ETAG_MISMATCH, TEMPLATE_IN_USE (others inherit from it, unless `force`)
   */
  deleteTemplate(caller: Caller, reference: string, options?: ChangeOptions & { readonly force?: boolean }): Promise<TemplateRecord | undefined>;
  /** By id, or by name when only one deleted template bears it. @throws AppError NAME_TAKEN, ETAG_MISMATCH */
  undeleteTemplate(caller: Caller, reference: string, options?: ChangeOptions): Promise<TemplateRecord | undefined>;
}

export function changeTemplates(database: Pick<Database, "orm" | "pool">, ids: IdSource): TemplateChanges {
  const inUnit = <Result>(caller: Caller, undo: boolean | undefined, work: (em: EntityManager) => Promise<Result>): Promise<Result> =>
    withEntities(database, work, { unit: unitOf(caller), undo });
  const onHead = (
    caller: Caller,
    reference: string,
    options: ChangeOptions & { readonly deletedToo?: boolean },
    change: (head: WorkflowTemplate, em: EntityManager) => Promise<void> | void,
  ): Promise<ChangedTemplate | undefined> =>
    guarded(() =>
      inUnit(caller, options.dryRun, async (em) => {
        const head = await lockHead(em, caller.tenantId, reference, options.deletedToo ?? false);
        if (!head) return undefined;
        checkEtag(options.etag, head.etag);
        await change(head, em);
        const etag = templateEtag(head);
        if (etag !== head.etag) {
          head.etag = etag;
          head.updateTime = databaseNow();
          await flush(em, head.name);
        }
        const version =
          head.latestVersion === 0
            ? null
            : await em.findOne(WorkflowTemplateVersion, { tenantId: head.tenantId, templateId: head.id, version: head.latestVersion });
        return { template: toTemplate(head), version: version ? toTemplateVersion(version) : undefined };
      }),
    );

  return {
    async createTemplate(caller, input) {
      assertStorable({ ...input, resolved: undefined });
      const publish = input.publish ?? true;
      return guarded(() =>
        inUnit(caller, input.dryRun, async (em) => {
          await holdBase(em, caller.tenantId, input);
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
            bases: basesOf(input.resolved),
            labels: { ...input.labels },
            latestVersion: 0,
            etag: "",
          });
          const version = publish ? addVersion(em, head, input, input.changeNote, caller.actor) : undefined;
          head.etag = templateEtag(head);
          await flush(em, input.name);
          return { template: toTemplate(head), version: version && toTemplateVersion(version) };
        }),
      );
    },

    updateTemplate: (caller, reference, update) =>
      onHead(caller, reference, update, async (head, em) => {
        assertStorable({ ...update, resolved: undefined });
        if (update.name !== undefined) head.name = update.name;
        if (update.displayName !== undefined) head.displayName = update.displayName;
        if (update.description !== undefined) head.description = update.description;
        if (update.category !== undefined) head.category = update.category;
        if (update.tags !== undefined) head.tags = [...update.tags];
        if (update.labels !== undefined) head.labels = { ...update.labels };
        if (update.deprecated !== undefined && head.latestVersion > 0) head.state = update.deprecated ? "deprecated" : "published";
        if (update.content === undefined) return;
        const content = { ...update, content: update.content };
        await holdBase(em, caller.tenantId, content);
        if (update.publish === false) await keepDraft(em, head, content);
        else await publishContent(em, head, content, update.changeNote, caller.actor);
      }),

    rollbackTemplate: (caller, reference, version, { changeNote, ...options } = {}) =>
      onHead(caller, reference, options, async (head, em) => {
        assertStorable({ changeNote });
        await copyVersion(em, head, version, changeNote, caller.actor);
      }),

    deleteTemplate: async (caller, reference, { force = false, ...options } = {}) =>
      (
        await onHead(caller, reference, options, async (head, em) => {
          if (!force) await refuseInUse(em, head);
          head.state = "deleted";
          head.deleteTime = databaseNow();
        })
      )?.template,

    undeleteTemplate: async (caller, reference, options = {}) =>
      (
        await onHead(caller, reference, { ...options, deletedToo: true }, (head) => {
          if (head.state !== "deleted") return;
          head.state = head.latestVersion > 0 ? "published" : "draft";
          head.deleteTime = null;
        })
      )?.template,
  };
}

/** A base that was just chosen is kept from being deleted until this transaction ends; then the deletion sees who inherits. */
async function holdBase(em: EntityManager, tenantId: string, { resolved, newBase }: Pick<NewContent, "resolved" | "newBase">): Promise<void> {
  const direct = resolved?.bases[0];
  const id = direct && parseId("template", direct.templateId);
  if (!direct || !id || newBase !== true) return;
  const held = await em.findOne(WorkflowTemplate, { tenantId, id }, { lockMode: LockMode.PESSIMISTIC_READ });
  if (held?.deleteTime == null) return;
  throw new AppError("TEMPLATE_NOT_FOUND", `template ${direct.templateName} was deleted meanwhile`, { metadata: { template: direct.templateId } });
}

async function refuseInUse(em: EntityManager, head: WorkflowTemplate): Promise<void> {
  const users = await em.find(
    WorkflowTemplate,
    { tenantId: head.tenantId, deleteTime: null, bases: { $contains: [{ id: head.id }] } as never },
    { fields: ["name"], limit: 5 },
  );
  if (users.length === 0) return;
  const names = users.map(({ name }) => name).join(", ");
  throw new AppError("TEMPLATE_IN_USE", `other templates inherit from ${head.name} (${names}); change them first, or use force: they keep what they have`, {
    metadata: { template: head.name, inheriting: names },
  });
}

async function lockHead(em: EntityManager, tenantId: string, reference: string, deletedToo: boolean): Promise<WorkflowTemplate | undefined> {
  const id = parseId("template", reference);
  if (!id && !isStorable(reference)) return undefined;
  const where = (owner: string) => (id ? { tenantId: owner, id } : { tenantId: owner, name: reference, deleteTime: null });
  const lock = { lockMode: LockMode.PESSIMISTIC_WRITE as const };
  const head = await em.findOne(WorkflowTemplate, where(tenantId), lock);
  if (head && !head.builtIn) return deletedToo || head.deleteTime == null ? head : undefined;
  if (deletedToo && !id) {
    const deleted = await em.find(WorkflowTemplate, { tenantId, name: reference, deleteTime: { $ne: null } }, { ...lock, limit: 2 });
    if (deleted.length > 0) return deleted.length === 1 ? deleted[0] : undefined;
  }
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

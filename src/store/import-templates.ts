/** Stores what a bundle brings, all of it in one transaction or nothing. */
import type { EntityManager } from "@mikro-orm/postgresql";
import { LockMode } from "@mikro-orm/postgresql";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Database } from "./database.ts";
import { guarded, isUniqueViolation } from "./database-error.ts";
import { databaseNow } from "./database-now.ts";
import { WorkflowTemplate } from "./entities/workflow-template.ts";
import { checkEtag } from "./fingerprint.ts";
import { nameTaken } from "./new-revision.ts";
import { addVersion, basesOf, keepDraft, templateEtag } from "./new-template-version.ts";
import { assertStorable } from "./storable.ts";
import type { NewContent } from "./template-changes.ts";
import { withEntities } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";
import type { Labels } from "./workflow-row.ts";

export interface TemplateImport {
  readonly id: string;
  /** The etag of the template that gets new versions; undefined for one that is new. */
  readonly etag: string | undefined;
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly category: string;
  readonly tags: readonly string[];
  readonly labels: Labels;
  /** Oldest first; they become the next ones. */
  readonly versions: readonly (NewContent & { readonly changeNote: string })[];
  /** Only of a new one. */
  readonly draft: NewContent | undefined;
}

/** @throws AppError NAME_TAKEN, ETAG_MISMATCH (an existing one was changed meanwhile): nothing is stored then */
export async function importTemplates(
  database: Pick<Database, "orm" | "pool">,
  caller: Caller,
  imports: readonly TemplateImport[],
  dryRun: boolean,
): Promise<void> {
  for (const item of imports)
    assertStorable({ ...item, versions: item.versions.map(({ content, changeNote }) => [content, changeNote]), draft: item.draft?.content });
  const store = async (em: EntityManager): Promise<void> => {
    for (const item of imports) {
      const head = item.etag === undefined ? newHead(em, caller, item) : await existingHead(em, caller, item, item.etag);
      for (const version of item.versions) {
        addVersion(em, head, version, version.changeNote, caller.actor);
        head.bases = basesOf(version.resolved);
      }
      if (item.draft) await keepDraft(em, head, item.draft);
      head.etag = templateEtag(head);
      try {
        await em.flush();
      } catch (error) {
        throw isUniqueViolation(error, "workflow_templates_name_key") ? nameTaken(item.name) : error;
      }
    }
  };
  await guarded(() => withEntities(database, store, { unit: unitOf(caller), undo: dryRun }));
}

function newHead(em: EntityManager, caller: Caller, { id, name, displayName, description, category, tags, labels }: TemplateImport): WorkflowTemplate {
  return em.create(WorkflowTemplate, {
    tenantId: caller.tenantId,
    id: parseId("template", id) as string,
    name,
    displayName,
    description,
    category,
    tags: [...tags],
    state: "draft",
    bases: [],
    labels: { ...labels },
    latestVersion: 0,
    etag: "",
  });
}

async function existingHead(em: EntityManager, caller: Caller, item: TemplateImport, etag: string): Promise<WorkflowTemplate> {
  const id = parseId("template", item.id) as string;
  const head = await em.findOne(WorkflowTemplate, { tenantId: caller.tenantId, id, deleteTime: null }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (!head) throw new AppError("ETAG_MISMATCH", `template ${item.name} was deleted meanwhile; repeat the import`);
  checkEtag(etag, head.etag);
  head.displayName = item.displayName;
  head.description = item.description;
  head.category = item.category;
  head.tags = [...item.tags];
  head.labels = { ...item.labels };
  head.updateTime = databaseNow();
  return head;
}

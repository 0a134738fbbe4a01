/**
 * Puts the templates that this release ships into the database, at every start of every replica. Replicas queue at an
 * advisory lock, and the same templates twice change nothing.
 *
 * A content that was published before is never published again, not even when it is not the latest: during a rolling
 * update the old release starts beside the new one, and both would otherwise outbid each other with versions for ever.
 */
import type { EntityManager } from "@mikro-orm/postgresql";
import { type IdSource, parseId, systemIds } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { databaseNow } from "./database-now.ts";
import { WorkflowTemplate } from "./entities/workflow-template.ts";
import { WorkflowTemplateVersion } from "./entities/workflow-template-version.ts";
import { addVersion, templateDigest, templateEtag } from "./new-template-version.ts";
import { assertStorable } from "./storable.ts";
import { builtInTenant } from "./template-row.ts";
import { withEntities } from "./transaction.ts";

export interface BuiltInTemplate {
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly category: string;
  readonly tags: readonly string[];
  readonly content: JsonObject;
}

export interface StoredBuiltIns {
  /** Names that were new. */
  readonly created: readonly string[];
  /** Names that got their next version. */
  readonly published: readonly string[];
}

/** In one transaction: all of them or none. */
export async function storeBuiltIns(
  database: Pick<Database, "orm" | "pool">,
  templates: readonly BuiltInTemplate[],
  ids: IdSource = systemIds,
): Promise<StoredBuiltIns> {
  for (const template of templates) assertStorable(template);
  return guarded(async () => {
    if (await areStored(database.orm.em.fork(), templates)) return { created: [], published: [] };
    return await withEntities(database, async (em) => {
      await em.execute("select pg_advisory_xact_lock(hashtext('built-in templates'))");
      const created: string[] = [];
      const published: string[] = [];
      for (const template of templates) {
        const head = await em.findOne(WorkflowTemplate, { tenantId: builtInTenant, name: template.name, deleteTime: null });
        if (!head) {
          create(em, template, ids);
          created.push(template.name);
        } else if (await publishChange(em, head, template)) {
          published.push(template.name);
        }
      }
      return { created, published };
    });
  });
}

/** Whether there is nothing to do, which is so at nearly every start: two reads, and nobody is waited for. */
async function areStored(em: EntityManager, templates: readonly BuiltInTemplate[]): Promise<boolean> {
  const wanted = templates.map((template) => ({ template, digest: templateDigest(template) }));
  const heads = await em.find(WorkflowTemplate, { tenantId: builtInTenant, name: { $in: templates.map(({ name }) => name) }, deleteTime: null });
  const versions = await em.find(
    WorkflowTemplateVersion,
    { tenantId: builtInTenant, templateId: { $in: heads.map(({ id }) => id) }, digest: { $in: wanted.map(({ digest }) => digest) } },
    { fields: ["tenantId", "templateId", "version", "digest"], orderBy: { version: "asc" } },
  );
  const headOf = new Map(heads.map((head) => [head.name, head]));
  const newestOf = new Map(versions.map(({ templateId, digest, version }) => [`${templateId} ${digest}`, version]));
  return wanted.every(({ template, digest }) => {
    const head = headOf.get(template.name);
    const known = head && newestOf.get(`${head.id} ${digest}`);
    if (!head || known === undefined) return false;
    return known !== head.latestVersion || templateEtag({ ...head, ...textsOf(template) }) === head.etag;
  });
}

function textsOf({ displayName, description, category, tags }: BuiltInTemplate): Pick<WorkflowTemplate, "displayName" | "description" | "category" | "tags"> {
  return { displayName, description, category, tags: [...tags] };
}

function create(em: EntityManager, template: BuiltInTemplate, ids: IdSource): void {
  const head = em.create(WorkflowTemplate, {
    tenantId: builtInTenant,
    id: parseId("template", ids.next("template")) as string,
    name: template.name,
    displayName: template.displayName,
    description: template.description,
    category: template.category,
    tags: [...template.tags],
    state: "draft",
    builtIn: true,
    latestVersion: 0,
    labels: {},
    etag: "",
  });
  addVersion(em, head, template, "", builtInTenant);
  head.etag = templateEtag(head);
}

async function publishChange(em: EntityManager, head: WorkflowTemplate, template: BuiltInTemplate): Promise<boolean> {
  const digest = templateDigest(template);
  const known = await em.findOne(WorkflowTemplateVersion, { tenantId: builtInTenant, templateId: head.id, digest }, { orderBy: { version: "desc" } });
  // Older content comes from an older release: its texts are older, too.
  if (known && known.version !== head.latestVersion) return false;
  if (!known) addVersion(em, head, template, "", builtInTenant);
  Object.assign(head, textsOf(template));
  const etag = templateEtag(head);
  if (etag !== head.etag) head.updateTime = databaseNow();
  head.etag = etag;
  return !known;
}

/** How a template's content becomes its next version or its draft, on a head that the transaction holds. */
import type { EntityManager } from "@mikro-orm/postgresql";
import { AppError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import { canonicalJson, type JsonObject } from "../base/json.ts";
import type { ResolvedTemplate } from "../domain/templates/resolve-template.ts";
import { flatContent, readResolved, resolvedToJson } from "../domain/templates/stored-template.ts";
import type { BaseReference, WorkflowTemplate } from "./entities/workflow-template.ts";
import { WorkflowTemplateVersion } from "./entities/workflow-template-version.ts";
import { digestOf, etagOf } from "./fingerprint.ts";

interface Content {
  readonly content: JsonObject;
  readonly resolved?: ResolvedTemplate | undefined;
}

/** SHA-256 of what a version does, its inheritance flattened: equal for equal ones, wherever and from whatever they were made. */
export function templateDigest({ content, resolved }: Content): string {
  return digestOf(flatContent(resolved ?? readResolved(content, undefined)));
}

export function basesOf(resolved: ResolvedTemplate | undefined): BaseReference[] {
  return (resolved?.bases ?? []).flatMap(({ templateId, version }) => {
    const id = parseId("template", templateId);
    return id ? [{ id, version }] : [];
  });
}

/** The next version of a head, which becomes published by it. */
export function addVersion(
  em: EntityManager,
  head: WorkflowTemplate,
  content: Content,
  changeNote: string | undefined,
  publisher: string,
): WorkflowTemplateVersion {
  head.latestVersion += 1;
  if (head.state === "draft") head.state = "published";
  return em.create(WorkflowTemplateVersion, {
    tenantId: head.tenantId,
    templateId: head.id,
    version: head.latestVersion,
    content: content.content,
    resolved: content.resolved && content.resolved.bases.length > 0 ? resolvedToJson(content.resolved) : null,
    bases: basesOf(content.resolved),
    digest: templateDigest(content),
    changeNote: changeNote ?? "",
    publisher,
  });
}

/** Nothing is published when the latest version says the same already. */
export async function publishContent(
  em: EntityManager,
  head: WorkflowTemplate,
  content: Content,
  changeNote: string | undefined,
  publisher: string,
): Promise<void> {
  const latest = await versionOf(em, head, head.latestVersion);
  head.draft = null;
  head.bases = basesOf(content.resolved);
  const same = latest !== null && latest.digest === templateDigest(content) && canonicalJson(latest.content) === canonicalJson(content.content);
  if (!same) addVersion(em, head, content, changeNote, publisher);
}

/** The head then inherits from the bases of both, the published version's and the draft's. */
export async function keepDraft(em: EntityManager, head: WorkflowTemplate, { content, resolved }: Content): Promise<void> {
  const latest = await versionOf(em, head, head.latestVersion);
  head.draft = content;
  head.bases = joined(latest?.bases ?? [], basesOf(resolved));
}

/** The draft stays as it is. @throws AppError TEMPLATE_VERSION_NOT_FOUND, NOTHING_TO_PUBLISH */
export async function copyVersion(
  em: EntityManager,
  head: WorkflowTemplate,
  version: number,
  changeNote: string | undefined,
  publisher: string,
): Promise<void> {
  const old = await versionOf(em, head, version);
  if (!old) {
    throw new AppError("TEMPLATE_VERSION_NOT_FOUND", `template ${head.name} has no version ${version}`, {
      metadata: { template: head.name, version: String(version) },
    });
  }
  const latest = await versionOf(em, head, head.latestVersion);
  if (latest?.digest === old.digest && canonicalJson(latest.content) === canonicalJson(old.content)) {
    throw new AppError("NOTHING_TO_PUBLISH", `the newest version ${head.latestVersion} says the same as version ${version}`);
  }
  head.bases = joined(old.bases, head.draft == null ? [] : head.bases);
  addVersion(em, head, { content: old.content, resolved: old.resolved ? readResolved(old.content, old.resolved) : undefined }, changeNote, publisher);
}

/** Everything a caller can change. */
export function templateEtag(head: WorkflowTemplate): string {
  const { name, displayName, description, category, tags, state, latestVersion, draft, labels } = head;
  return etagOf({ name, displayName, description, category, tags, state, latestVersion, draft: draft ?? null, labels });
}

async function versionOf(em: EntityManager, head: WorkflowTemplate, version: number): Promise<WorkflowTemplateVersion | null> {
  return version < 1 ? null : em.findOne(WorkflowTemplateVersion, { tenantId: head.tenantId, templateId: head.id, version });
}

function joined(bases: readonly BaseReference[], more: readonly BaseReference[]): BaseReference[] {
  return [...bases, ...more.filter(({ id }) => !bases.some((base) => base.id === id))];
}

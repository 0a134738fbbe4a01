/** Templates and their versions as their readers see them, and what of a template is stored as its content. */
import { create, fromJson, toJson } from "@bufbuild/protobuf";
import { type Template, TemplateSchema, type TemplateVersion, TemplateVersionSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { type TemplateCategory, TemplateCategorySchema, type TemplateTag, TemplateTagSchema } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import type { Json, JsonObject } from "../../base/json.ts";
import type { NameCount } from "../../store/template-repository.ts";
import type { TemplateRecord, TemplateVersionRecord } from "../../store/template-row.ts";
import { templateStateWords } from "./enums.ts";
import type { WireView } from "./step.ts";
import { usageToMessage } from "./template-usage.ts";
import { timestampOf } from "./time.ts";

/** The fields of Template that a version freezes; everything else is its head, which changes without a new version. */
export const contentFields = ["parameters_schema", "definition", "base_template", "overrides", "parameter_defaults"] as const;

/** Listed first, also when nothing is in them. */
const wellKnownCategories = ["integration", "file-processing", "sync", "automation", "notification"];
const tagsListedMax = 200;

/** What is stored as a version or draft: those of the five content fields that are set, in proto JSON. */
export function templateContentToJson(message: Template): JsonObject {
  const all = toJson(TemplateSchema, message, { useProtoFieldName: true }) as JsonObject;
  return Object.fromEntries(contentFields.flatMap((field) => (all[field] === undefined ? [] : [[field, all[field] as Json]])));
}

/** `content` is the version's, or the draft's; without it only the head is sent. `basic` leaves the definition out. */
export function templateToMessage(record: TemplateRecord, view: WireView, content?: JsonObject): Template {
  const { parametersSchema, definition, baseTemplate, overrides, parameterDefaults } = contentFromJson(content ?? {}, view);
  return create(TemplateSchema, {
    id: record.id,
    name: record.name,
    displayName: record.displayName,
    description: record.description,
    category: record.category,
    tags: [...record.tags],
    state: templateStateWords.valueOf(record.state),
    latestVersion: record.latestVersion,
    builtIn: record.builtIn,
    parametersSchema,
    definition,
    baseTemplate,
    overrides,
    parameterDefaults,
    usage: view === "full" && record.usage ? usageToMessage(record.usage, record.usage.workflows) : undefined,
    labels: { ...record.labels },
    etag: record.etag,
    createTime: timestampOf(record.createdAt),
    updateTime: timestampOf(record.updatedAt),
  });
}

/** `head` is the template as it is now: a version keeps its content only. The snapshot is sent in the `full` view. */
export function templateVersionToMessage(record: TemplateVersionRecord, head: TemplateRecord, view: WireView): TemplateVersion {
  return create(TemplateVersionSchema, {
    templateId: record.templateId,
    version: record.version,
    snapshot: view === "full" ? templateToMessage({ ...head, usage: undefined, latestVersion: record.version }, "full", record.content) : undefined,
    digest: record.digest,
    changeNote: record.changeNote,
    publishTime: timestampOf(record.publishedAt),
    publisher: record.publisher,
  });
}

/** The well-known categories first, then the others by name. */
export function categoriesToMessages(counts: readonly NameCount[]): TemplateCategory[] {
  const countOf = new Map(counts.map(({ name, count }) => [name, count]));
  const others = [...countOf.keys()].filter((name) => name !== "" && !wellKnownCategories.includes(name)).sort();
  return [...wellKnownCategories, ...others].map((category) => create(TemplateCategorySchema, { category, templateCount: countOf.get(category) ?? 0 }));
}

/** The most used ones, at most 200. */
export function tagsToMessages(counts: readonly NameCount[]): TemplateTag[] {
  return counts
    .toSorted((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
    .slice(0, tagsListedMax)
    .map(({ name, count }) => create(TemplateTagSchema, { tag: name, templateCount: count }));
}

/** Fields of a newer release are passed over, so that a rollback of the service can still read what it stored. */
function contentFromJson(content: JsonObject, view: WireView): Template {
  const fields = contentFields.filter((field) => content[field] !== undefined && (view === "full" || field !== "definition"));
  return fromJson(TemplateSchema, Object.fromEntries(fields.map((field) => [field, content[field] as Json])), { ignoreUnknownFields: true });
}

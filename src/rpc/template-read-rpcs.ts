/** TemplateService: reading templates, their versions, what they inherit and what comes from them. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { TemplateSchema, TemplateVersionSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import {
  DiffTemplateVersionsResponseSchema,
  GetTemplateResponseSchema,
  GetTemplateVersionResponseSchema,
  ListTemplateCategoriesResponseSchema,
  ListTemplateDescendantsResponseSchema,
  ListTemplatesResponseSchema,
  ListTemplateVersionsResponseSchema,
  ResolveTemplateResponseSchema,
  type TemplateService,
} from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import type { Caller } from "../base/caller.ts";
import { diffDefinitions, diffObjects } from "../domain/definition-diff.ts";
import { diffSchema } from "../domain/schema-diff.ts";
import type { ResolvedTemplate } from "../domain/templates/resolve-template.ts";
import { readResolved } from "../domain/templates/stored-template.ts";
import type { TemplateWithVersion } from "../store/template-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { resolveHead, templateNotFound, versionNotFound } from "./template-content.ts";
import { definitionFromJson } from "./wire/definition.ts";
import { changeToMessage } from "./wire/definition-change.ts";
import { countFitting } from "./wire/fit.ts";
import { templateFilterOf } from "./wire/list-filters.ts";
import { orderByOf } from "./wire/order-by.ts";
import { categoriesToMessages, tagsToMessages, templateToMessage, templateVersionToMessage } from "./wire/template.ts";
import { defaultsOf, descendantToMessage, originsToMessages } from "./wire/template-lineage.ts";

type ReadRpcs = Pick<
  ServiceImpl<typeof TemplateService>,
  | "listTemplates"
  | "getTemplate"
  | "listTemplateCategories"
  | "listTemplateVersions"
  | "getTemplateVersion"
  | "diffTemplateVersions"
  | "resolveTemplate"
  | "listTemplateDescendants"
>;

/** Items of a page with definitions, each of which may have a megabyte. */
const fullPageMax = 50;
const orderFields = ["name", "usage_count", "success_rate", "create_time", "update_time"] as const;

export function templateReadRpcs(parts: RpcParts): ReadRpcs {
  const { templates } = parts;
  return {
    async listTemplates(request, context) {
      const caller = callerOf(context);
      const filter = templateFilterOf(request.filter);
      const order = orderByOf(request.orderBy, orderFields, { field: "create_time", descending: true });
      const { pageSize, pageToken, showDeleted, includeTotalSize } = request;
      const full = request.view === View.FULL;
      let totalSize: bigint | undefined;
      const wish = { pageSize: full ? fullPageOf(pageSize) : pageSize, pageToken, shape: [request.filter, showDeleted, order.field, order.descending] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListTemplates", wish, async ({ pageSize, afterId }) => {
        const page = await templates.listTemplates(caller, {
          pageSize,
          after: afterId,
          filter,
          order,
          showDeleted,
          withVersions: full,
          withTotal: includeTotalSize,
        });
        totalSize = page.total === undefined ? undefined : BigInt(page.total);
        const messages = page.items.map(({ template, version }) =>
          templateToMessage(template, full ? "full" : "basic", full ? (template.draft ?? version?.content) : undefined),
        );
        return cut(messages, page.items, page.more, TemplateSchema);
      });
      return create(ListTemplatesResponseSchema, { templates: [...items], nextPageToken, totalSize });
    },

    async getTemplate(request, context) {
      const { template, version } = await find(callerOf(context), request.template, request.version);
      const view = request.view === View.BASIC ? "basic" : "full";
      const content = request.version === 0 ? (template.draft ?? version?.content) : version?.content;
      return create(GetTemplateResponseSchema, { template: templateToMessage(template, view, content) });
    },

    async listTemplateCategories(_request, context) {
      const { categories, tags } = await templates.listCategories(callerOf(context));
      return create(ListTemplateCategoriesResponseSchema, { categories: categoriesToMessages(categories), tags: tagsToMessages(tags) });
    },

    async listTemplateVersions(request, context) {
      const caller = callerOf(context);
      const { template } = await find(caller, request.template, 0);
      const { pageSize, pageToken, includeTotalSize } = request;
      const view = request.view === View.FULL ? "full" : "basic";
      let totalSize: bigint | undefined;
      const wish = { pageSize: view === "full" ? fullPageOf(pageSize) : pageSize, pageToken, shape: [template.id] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListTemplateVersions", wish, async ({ pageSize, afterId }) => {
        const beforeVersion = afterId === undefined ? {} : { beforeVersion: Number(afterId) };
        const { versions, total } = await templates.listVersions(caller, template.id, {
          pageSize: pageSize + 1,
          withTotal: includeTotalSize,
          parts: view === "full" ? "content" : "head",
          ...beforeVersion,
        });
        totalSize = total === undefined ? undefined : BigInt(total);
        const page = versions.slice(0, pageSize).map((version) => ({ version, position: String(version.version) }));
        const messages = page.map(({ version }) => templateVersionToMessage(version, template, view));
        return cut(messages, page, versions.length > pageSize, TemplateVersionSchema);
      });
      return create(ListTemplateVersionsResponseSchema, { versions: [...items], nextPageToken, totalSize });
    },

    async getTemplateVersion(request, context) {
      const { template, version } = await find(callerOf(context), request.template, request.version);
      if (!version) throw versionNotFound(request.template, request.version);
      return create(GetTemplateVersionResponseSchema, { version: templateVersionToMessage(version, template, "full") });
    },

    async diffTemplateVersions(request, context) {
      const caller = callerOf(context);
      const before = await side(caller, request.template, request.fromVersion);
      const after = await side(caller, request.template, request.toVersion);
      const changes = [
        ...diffSchema("parameters_schema", before.parametersSchema, after.parametersSchema, "parameters"),
        ...diffObjects("parameter_defaults", before.parameterDefaults, after.parameterDefaults),
        ...diffDefinitions(before.definition, after.definition),
      ];
      return create(DiffTemplateVersionsResponseSchema, { changes: changes.map(changeToMessage), breaking: changes.some(({ breaking }) => breaking) });
    },

    async resolveTemplate(request, context) {
      const caller = callerOf(context);
      const { template, version } = await find(caller, request.template, request.version);
      const isHead = request.version === 0;
      const resolved = isHead ? await resolveHead(parts, caller, template, version) : readResolved(version?.content ?? {}, version?.resolved);
      const number = isHead && template.draft !== undefined ? 0 : (version?.version ?? 0);
      return create(ResolveTemplateResponseSchema, {
        definition: definitionFromJson(resolved.definition),
        parametersSchema: resolved.parametersSchema,
        parameterDefaults: defaultsOf(resolved),
        origins: originsToMessages(resolved, { templateId: template.id, templateName: template.name, version: number }),
      });
    },

    async listTemplateDescendants(request, context) {
      const caller = callerOf(context);
      const { template } = await find(caller, request.template, 0);
      const { pageSize, pageToken, includeTotalSize } = request;
      let totalSize: bigint | undefined;
      const wish = { pageSize, pageToken, shape: [template.id] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListTemplateDescendants", wish, async ({ pageSize, afterId }) => {
        const page = await templates.listDescendants(caller, template.id, { pageSize, after: afterId, withTotal: includeTotalSize });
        totalSize = page.total === undefined ? undefined : BigInt(page.total);
        return { items: page.items.map(descendantToMessage), nextAfterId: page.more ? page.items.at(-1)?.position : undefined };
      });
      return create(ListTemplateDescendantsResponseSchema, { descendants: [...items], nextPageToken, totalSize });
    },
  };

  /** A version of 0 finds the newest one, which is undefined while nothing is published. */
  async function find(caller: Caller, reference: string, version: number): Promise<TemplateWithVersion> {
    const found = await templates.getTemplate(caller, reference, version === 0 ? {} : { version });
    if (!found) throw templateNotFound(reference);
    if (version !== 0 && !found.version) throw versionNotFound(reference, version);
    return found;
  }

  /** One side of a comparison; 0 is the draft. */
  async function side(caller: Caller, reference: string, version: number): Promise<ResolvedTemplate> {
    const found = await find(caller, reference, version);
    if (version !== 0) return readResolved(found.version?.content ?? {}, found.version?.resolved);
    if (found.template.draft === undefined) throw versionNotFound(reference, 0);
    return resolveHead(parts, caller, found.template, found.version);
  }
}

function fullPageOf(pageSize: number): number {
  return pageSize === 0 ? fullPageMax : Math.min(pageSize, fullPageMax);
}

/** As many messages as fit into a response; the next page begins after the last of them. */
function cut<Desc extends Parameters<typeof countFitting>[0], Item>(
  messages: readonly Item[],
  positions: readonly { readonly position: string }[],
  more: boolean,
  schema: Desc,
): { readonly items: readonly Item[]; readonly nextAfterId: string | undefined } {
  const count = countFitting(schema, messages as never);
  return { items: messages.slice(0, count), nextAfterId: more || count < messages.length ? positions[count - 1]?.position : undefined };
}

/** TemplateService: reading templates and making workflows from them. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  CreateWorkflowFromTemplateResponseSchema,
  GetTemplateResponseSchema,
  ListTemplateCategoriesResponseSchema,
  ListTemplatesResponseSchema,
  type TemplateService,
} from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { WorkflowSchema } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { AppError, violationsError } from "../base/errors.ts";
import { instantiate } from "../domain/templates/instantiate.ts";
import { readTemplateContent } from "../domain/templates/parse-template-document.ts";
import { checkDefinitionJson } from "./definition-check.ts";
import { callerOf } from "./interceptors/call.ts";
import { refuseNotYet } from "./not-yet.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { checkSecretBindings } from "./secret-bindings.ts";
import { definitionFromJson } from "./wire/definition.ts";
import { templateFilterOf } from "./wire/list-filters.ts";
import { categoriesToMessages, tagsToMessages, templateToMessage } from "./wire/template.ts";
import { workflowToMessage } from "./wire/workflow.ts";

type TemplateRpcs = Pick<ServiceImpl<typeof TemplateService>, "listTemplates" | "getTemplate" | "listTemplateCategories" | "createWorkflowFromTemplate">;

export function templateRpcs(parts: RpcParts): TemplateRpcs {
  const { templates, workflows, stepTypes } = parts;
  return {
    async listTemplates(request, context) {
      refuseNotYet({ order_by: request.orderBy !== "", include_total_size: request.includeTotalSize, "view FULL": request.view === View.FULL });
      const caller = callerOf(context);
      const filter = templateFilterOf(request.filter);
      const { pageSize, pageToken, showDeleted } = request;
      const wish = { pageSize, pageToken, shape: [request.filter, showDeleted] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListTemplates", wish, (page) =>
        templates.listTemplates(caller, { ...page, filter, showDeleted }),
      );
      return create(ListTemplatesResponseSchema, { templates: items.map((item) => templateToMessage(item, "basic")), nextPageToken });
    },

    async getTemplate(request, context) {
      const found = await templates.getTemplate(callerOf(context), request.template, request.version === 0 ? {} : { version: request.version });
      if (!found) throw templateNotFound(request.template);
      if (request.version !== 0 && !found.version) throw versionNotFound(request.template, request.version);
      const view = request.view === View.BASIC ? "basic" : "full";
      return create(GetTemplateResponseSchema, { template: templateToMessage(found.template, view, found.version?.content) });
    },

    async listTemplateCategories(_request, context) {
      const { categories, tags } = await templates.listCategories(callerOf(context));
      return create(ListTemplateCategoriesResponseSchema, { categories: categoriesToMessages(categories), tags: tagsToMessages(tags) });
    },

    async createWorkflowFromTemplate(request, context) {
      refuseNotYet({ overrides: request.overrides.length > 0 });
      const caller = callerOf(context);
      const found = await templates.getTemplate(caller, request.template, request.version === 0 ? {} : { version: request.version });
      if (!found) throw templateNotFound(request.template);
      const { template, version } = found;
      if (!version) {
        if (request.version !== 0) throw versionNotFound(request.template, request.version);
        throw new AppError("TEMPLATE_NOT_PUBLISHED", `template ${template.name} has no published version yet; publish it first`);
      }
      const made = instantiate(readTemplateContent(version.content), request.parameters ?? {});
      if (!made.ok) throw violationsError(made.fault);
      const { source, warnings } = checkDefinitionJson(made.value.definition, stepTypes, "definition");
      await checkSecretBindings(parts.secrets, caller, source, request.secretBindings, "secret_bindings");
      if (request.validateOnly) {
        const workflow = create(WorkflowSchema, { name: request.name, definition: definitionFromJson(source) });
        return create(CreateWorkflowFromTemplateResponseSchema, { workflow, warnings });
      }
      const stored = await workflows.createWorkflow(caller, {
        name: request.name,
        displayName: request.displayName || template.displayName,
        description: request.description || template.description,
        labels: request.labels,
        annotations: request.annotations,
        definition: source,
        secretBindings: request.secretBindings,
        changeNote: `from template ${template.name} version ${version.version}`,
        lineage: { templateId: template.id, templateVersion: version.version, parameters: made.value.parameters, overrides: [] },
        activate: !request.draftOnly,
      });
      return create(CreateWorkflowFromTemplateResponseSchema, { workflow: workflowToMessage(stored.workflow, "full", stored.revision), warnings });
    },
  };
}

function templateNotFound(reference: string): AppError {
  return new AppError("TEMPLATE_NOT_FOUND", `template ${reference} does not exist`, { metadata: { template: reference } });
}

function versionNotFound(reference: string, version: number): AppError {
  return new AppError("TEMPLATE_VERSION_NOT_FOUND", `template ${reference} has no version ${version}`, {
    metadata: { template: reference, version: String(version) },
  });
}

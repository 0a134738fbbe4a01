/** TemplateService: making workflows from templates, and the rpcs of the files beside this one. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { CreateWorkflowFromTemplateResponseSchema, type TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowSchema } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { AppError, violationsError } from "../base/errors.ts";
import type { Json } from "../base/json.ts";
import { instantiate } from "../domain/templates/instantiate.ts";
import { readResolved } from "../domain/templates/stored-template.ts";
import { nameTaken } from "../store/new-revision.ts";
import { checkDefinitionJson } from "./definition-check.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { pinChildren } from "./pin-children.ts";
import { checkSecretBindings } from "./secret-bindings.ts";
import { templateBundleRpcs } from "./template-bundle-rpcs.ts";
import { templateChangeRpcs } from "./template-change-rpcs.ts";
import { checkShape, templateNotFound, versionNotFound } from "./template-content.ts";
import { templateReadRpcs } from "./template-read-rpcs.ts";
import { templateUpgradeRpcs } from "./template-upgrade-rpcs.ts";
import { templateUsageRpcs } from "./template-usage-rpcs.ts";
import { definitionFromJson } from "./wire/definition.ts";
import { definitionPlace } from "./wire/definition-places.ts";
import { overridesWithNames } from "./wire/step-patch.ts";
import { lineageToMessage, overridesToJson, workflowToMessage } from "./wire/workflow.ts";

type TemplateRpcs = ReturnType<typeof templateReadRpcs> &
  ReturnType<typeof templateChangeRpcs> &
  ReturnType<typeof templateUpgradeRpcs> &
  ReturnType<typeof templateUsageRpcs> &
  ReturnType<typeof templateBundleRpcs> &
  Pick<ServiceImpl<typeof TemplateService>, "createWorkflowFromTemplate">;

export function templateRpcs(parts: RpcParts): TemplateRpcs {
  const { templates, workflows } = parts;
  return {
    ...templateReadRpcs(parts),
    ...templateChangeRpcs(parts),
    ...templateUpgradeRpcs(parts),
    ...templateUsageRpcs(parts),
    ...templateBundleRpcs(parts),

    async createWorkflowFromTemplate(request, context) {
      const caller = callerOf(context);
      const found = await templates.getTemplate(caller, request.template, request.version === 0 ? {} : { version: request.version });
      if (!found) throw templateNotFound(request.template);
      const { template, version } = found;
      if (!version) {
        if (request.version !== 0) throw versionNotFound(request.template, request.version);
        throw new AppError("TEMPLATE_NOT_PUBLISHED", `template ${template.name} has no published version yet; publish it first`);
      }
      const overrides = overridesWithNames(overridesToJson(request.overrides), "overrides");
      const made = instantiate(readResolved(version.content, version.resolved), request.parameters ?? {}, overrides, definitionPlace);
      if (!made.ok) throw violationsError(made.fault);
      // Overrides and the values of parameters may give what no request could have said.
      checkShape(made.value.definition, "definition");
      const { source: rendered, warnings } = checkDefinitionJson(made.value.definition, await parts.stepTypesOf(caller.tenantId), "definition");
      const source = await pinChildren(workflows, caller, rendered, "definition", { name: request.name });
      await checkSecretBindings(parts.secrets, caller, source, request.secretBindings, "secret_bindings");
      const lineage = { templateId: template.id, templateVersion: version.version, parameters: made.value.parameters, overrides: overrides as Json };
      if (request.validateOnly) {
        if (await workflows.getWorkflow(caller, request.name)) throw nameTaken(request.name);
        const workflow = create(WorkflowSchema, {
          name: request.name,
          definition: definitionFromJson(source),
          lineage: lineageToMessage(lineage, request.secretBindings),
          secretBindings: request.secretBindings,
        });
        return create(CreateWorkflowFromTemplateResponseSchema, { workflow, warnings });
      }
      const stored = await workflows.createWorkflow(caller, {
        name: request.name,
        displayName: request.displayName || template.displayName,
        description: request.description || template.description,
        labels: request.labels,
        annotations: request.annotations,
        definition: source,
        changeNote: `from template ${template.name} version ${version.version}`,
        lineage,
        secretBindings: request.secretBindings,
        activate: !request.draftOnly,
      });
      return create(CreateWorkflowFromTemplateResponseSchema, { workflow: workflowToMessage(stored.workflow, "full", stored.revision), warnings });
    },
  };
}

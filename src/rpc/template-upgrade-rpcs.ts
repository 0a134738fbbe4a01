/** TemplateService: bringing workflows to another version of the template they were made from. */
import { create, toBinary } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type PreviewTemplateUpgradeRequest,
  PreviewTemplateUpgradeResponseSchema,
  type TemplateService,
  UpgradeConflictSchema,
  type UpgradeWorkflowsRequest,
  UpgradeWorkflowsResponseSchema,
  type WorkflowUpgrade,
  WorkflowUpgradeSchema,
} from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { afterCommit } from "../base/change.ts";
import { AppError, violationsError } from "../base/errors.ts";
import type { Json, JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { readResolved } from "../domain/templates/stored-template.ts";
import { type Upgrade, upgrade } from "../domain/templates/upgrade.ts";
import type { TemplateRecord, TemplateVersionRecord } from "../store/template-row.ts";
import type { RevisionRecord, WorkflowRecord } from "../store/workflow-row.ts";
import { checkDefinitionJson } from "./definition-check.ts";
import { statusOf } from "./error-status.ts";
import { inTurns, wholeItemsMax } from "./in-turns.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { pinChildren } from "./pin-children.ts";
import { bindingsOfSlots, checkSecretBindings } from "./secret-bindings.ts";
import { checkShape, templateNotFound, versionNotFound } from "./template-content.ts";
import { definitionFromJson, definitionToJson } from "./wire/definition.ts";
import { definitionPlace } from "./wire/definition-places.ts";
import { countFitting } from "./wire/fit.ts";
import { valueFromJson } from "./wire/value.ts";
import { workflowNotFound } from "./workflow-rpcs.ts";

/** An update by somebody else between reading and writing is met this often. */
const roundsMax = 3;

export function templateUpgradeRpcs(parts: RpcParts): Pick<ServiceImpl<typeof TemplateService>, "previewTemplateUpgrade" | "upgradeWorkflows"> {
  return {
    async previewTemplateUpgrade(request, context) {
      const caller = callerOf(context);
      const target = await findTarget(parts, caller, request);
      const preview = (reference: string) => upgradeOne(parts, caller, target, reference, request.parameters ?? {}, undefined);
      if (request.workflows.length > 0) {
        const upgrades = fitResults(await inTurns(request.workflows, preview));
        return create(PreviewTemplateUpgradeResponseSchema, { upgrades });
      }
      const { pageSize, pageToken } = request;
      const filter = { templateId: target.template.id };
      const wish = { pageSize, pageToken, shape: [target.template.id, target.version.version] };
      const page = await listPage(parts, caller, "PreviewTemplateUpgrade", wish, async (page) => {
        const { items, nextAfterId } = await parts.workflows.listWorkflows(caller, { ...page, pageSize: Math.min(page.pageSize, wholeItemsMax), filter });
        const upgrades = await inTurns(
          items.map(({ id }) => id),
          preview,
        );
        const fitting = countFitting(WorkflowUpgradeSchema, upgrades);
        return { items: upgrades.slice(0, fitting), nextAfterId: fitting < upgrades.length ? items[fitting - 1]?.id : nextAfterId };
      });
      return create(PreviewTemplateUpgradeResponseSchema, { upgrades: [...page.items], nextPageToken: page.nextPageToken });
    },

    async upgradeWorkflows(request, context) {
      const caller = callerOf(context);
      const target = await findTarget(parts, caller, request);
      const apply = request.validateOnly ? undefined : { activate: !request.draftOnly };
      // Each once, and in one order: their heads stay locked until all of them are committed together.
      const references = [...new Set(request.workflows)].sort();
      const items = await inTurns(references, (reference) => upgradeOne(parts, caller, target, reference, request.parameters ?? {}, apply, true));
      const upgrades = request.workflows.map((reference) => items[references.indexOf(reference)] as WorkflowUpgrade);
      if (apply) await afterCommit(caller, () => parts.workflowsChanged(caller.tenantId));
      return create(UpgradeWorkflowsResponseSchema, { upgrades: fitResults(upgrades) });
    },
  };
}

interface Target {
  readonly template: TemplateRecord;
  readonly version: TemplateVersionRecord;
}

async function findTarget(
  parts: RpcParts,
  caller: Caller,
  { template: reference, toVersion }: PreviewTemplateUpgradeRequest | UpgradeWorkflowsRequest,
): Promise<Target> {
  const found = await parts.templates.getTemplate(caller, reference, toVersion === 0 ? {} : { version: toVersion });
  if (!found) throw templateNotFound(reference);
  if (found.version) return { template: found.template, version: found.version };
  if (toVersion !== 0) throw versionNotFound(reference, toVersion);
  throw new AppError("TEMPLATE_NOT_PUBLISHED", `template ${found.template.name} has no published version yet; publish it first`);
}

/** One workflow's item; with `apply` it is written. A refusal is its own result and leaves the others alone. `strict` refuses conflicts. */
async function upgradeOne(
  parts: RpcParts,
  caller: Caller,
  target: Target,
  reference: string,
  given: JsonObject,
  apply: { readonly activate: boolean } | undefined,
  strict = false,
): Promise<WorkflowUpgrade> {
  const item = create(WorkflowUpgradeSchema, { workflowId: reference, toVersion: target.version.version });
  try {
    for (let round = 1; ; round++) {
      const workflow = await parts.workflows.getWorkflow(caller, reference);
      if (!workflow) throw workflowNotFound(reference);
      item.workflowId = workflow.id;
      item.workflowName = workflow.name;
      const latest = await parts.workflows.getRevision(caller, workflow.id, "latest");
      const lineage = latest?.lineage;
      if (!latest || lineage?.templateId !== target.template.id) throw notDerived(workflow, target.template);
      item.fromVersion = lineage.templateVersion;
      if (lineage.templateVersion === target.version.version && Object.keys(given).length === 0) {
        item.result = definitionFromJson(latest.definition);
        return item;
      }
      const merged = await merge(parts, caller, target, latest, given);
      item.result = definitionFromJson(merged.definition);
      item.conflicts = merged.conflicts.map(conflictMessage);
      item.missingParameters = [...merged.missingParameters];
      if (merged.conflicts.length > 0 || merged.missingParameters.length > 0) {
        if (strict) throw unresolved(merged);
        return item;
      }
      const source = await checkResult(parts, caller, merged, latest);
      item.result = definitionFromJson(source);
      if (!apply) return item;
      try {
        item.revision = await store(parts, caller, target, workflow, latest, { ...merged, definition: source }, apply.activate);
        return item;
      } catch (error) {
        if (!(error instanceof AppError) || error.reason !== "ETAG_MISMATCH" || round === roundsMax) throw error;
      }
    }
  } catch (error) {
    if (!(error instanceof AppError) || error.code === "UNAVAILABLE" || error.code === "INTERNAL") throw error;
    item.error = statusOf(error);
    return item;
  }
}

async function merge(parts: RpcParts, caller: Caller, target: Target, latest: RevisionRecord, given: JsonObject): Promise<Upgrade> {
  const { templateVersion, parameters, overrides } = latest.lineage as NonNullable<RevisionRecord["lineage"]>;
  const old = await parts.templates.getTemplate(caller, target.template.id, { version: templateVersion, showDeleted: true });
  if (!old?.version) throw versionNotFound(target.template.name, templateVersion);
  const merged = upgrade({
    from: readResolved(old.version.content, old.version.resolved),
    to: readResolved(target.version.content, target.version.resolved),
    parameters,
    overrides: Array.isArray(overrides) ? overrides : [],
    given,
    place: definitionPlace,
    definition: latest.definition,
    normalize,
  });
  if (!merged.ok) throw violationsError(merged.fault);
  return merged.value;
}

/** @throws AppError with the reasons of saving it */
async function checkResult(parts: RpcParts, caller: Caller, merged: Upgrade, latest: RevisionRecord): Promise<JsonObject> {
  checkShape(merged.definition, "definition");
  const checked = checkDefinitionJson(normalize(merged.definition), await parts.stepTypesOf(caller.tenantId), "definition");
  const source = await pinChildren(parts.workflows, caller, checked.source, "definition", { id: latest.workflowId });
  await checkSecretBindings(parts.secrets, caller, source, bindingsOfSlots(source, latest.secretBindings), "secret_bindings");
  return source;
}

/** Number of the revision that was made. */
async function store(
  parts: RpcParts,
  caller: Caller,
  { template, version }: Target,
  workflow: WorkflowRecord,
  latest: RevisionRecord,
  { definition, parameters, overrides }: Upgrade,
  activate: boolean,
): Promise<number> {
  const lineage = { templateId: template.id, templateVersion: version.version, parameters, overrides: [...overrides] as Json };
  const stored = await parts.workflows.updateWorkflow(caller, workflow.id, {
    etag: workflow.etag,
    revision: {
      definition,
      lineage,
      secretBindings: bindingsOfSlots(definition, latest.secretBindings),
      changeNote: `version ${version.version} of template ${template.name}`,
      activate,
    },
  });
  if (!stored) throw workflowNotFound(workflow.id);
  return stored.revision.revision === latest.revision ? 0 : stored.revision.revision;
}

function normalize(definition: JsonObject): JsonObject {
  return definitionToJson(definitionFromJson(definition));
}

function conflictMessage({ path, base, template, workflow }: Upgrade["conflicts"][number]) {
  return create(UpgradeConflictSchema, { path, base: valueFromJson(base), templateValue: valueFromJson(template), workflowValue: valueFromJson(workflow) });
}

function notDerived(workflow: WorkflowRecord, template: TemplateRecord): AppError {
  return new AppError("WORKFLOW_NOT_DERIVED", `workflow ${workflow.name} was not made from template ${template.name}`, {
    metadata: { workflow: workflow.name, template: template.name },
  });
}

function unresolved({ conflicts, missingParameters }: Upgrade): AppError {
  if (missingParameters.length > 0) {
    return violationsError(
      missingParameters.map((name) => ({ field: `parameters.${name}`, reason: "PARAMETERS_INVALID" as const, description: "is required by the new version" })),
    );
  }
  const places = conflicts.map(({ path }) => path).join(", ");
  return new AppError(
    "UPGRADE_CONFLICT",
    `template and workflow changed the same parts: ${places.slice(0, 500)}; bring them together with UpdateWorkflow first`,
  );
}

/** Definitions that do not fit into one message are left out; GetWorkflow has them, or a preview of fewer. */
function fitResults(upgrades: readonly WorkflowUpgrade[]): WorkflowUpgrade[] {
  let bytes = 0;
  return upgrades.map((item) => {
    const size = toBinary(WorkflowUpgradeSchema, item).length;
    if (bytes + size <= limits.pageBytesMax) {
      bytes += size;
      return item;
    }
    const { result: _result, ...rest } = item;
    return rest;
  });
}

/** WorkflowService: the rpcs about workflows, their revisions and definitions. */
import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { InferredTypeSchema } from "#gen/pyairtable/workflow/v1/definition_report_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { type Workflow, WorkflowSchema } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import {
  CreateWorkflowResponseSchema,
  DeleteWorkflowResponseSchema,
  GetWorkflowResponseSchema,
  GetWorkflowRevisionResponseSchema,
  ListWorkflowsResponseSchema,
  UndeleteWorkflowResponseSchema,
  ValidateDefinitionResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { afterCommit } from "../base/change.ts";
import { AppError, missingField } from "../base/errors.ts";
import { canonicalJson, type JsonObject } from "../base/json.ts";
import type { Definition } from "../domain/definition.ts";
import { inferredTypes, kindsOfData } from "../domain/inferred-types.ts";
import { findSchemaProblem } from "../domain/json-schema.ts";
import { parseDefinition } from "../domain/parse-definition.ts";
import { unreachableSteps } from "../domain/unreachable-steps.ts";
import { nameTaken } from "../store/new-revision.ts";
import { workflowOrders } from "../store/sql/list-workflows.ts";
import type { WorkflowRecord } from "../store/workflow-row.ts";
import { checkDefinition, issueOf } from "./definition-check.ts";
import { inTurns, wholeItemsMax } from "./in-turns.ts";
import { callerOf } from "./interceptors/call.ts";
import { contractValidator } from "./interceptors/contract-validator.ts";
import { findRuleFaults } from "./interceptors/validation.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { findChildFaults, pinChildren } from "./pin-children.ts";
import { checkSecretBindings, findBindingFaults } from "./secret-bindings.ts";
import { definitionToJson } from "./wire/definition.ts";
import { countFitting } from "./wire/fit.ts";
import { workflowFilterOf } from "./wire/list-filters.ts";
import { orderByOf } from "./wire/order-by.ts";
import { sagaPlanOf } from "./wire/saga-plan.ts";
import { revisionToMessage, workflowToMessage } from "./wire/workflow.ts";

type WorkflowRpcs = Pick<
  ServiceImpl<typeof WorkflowService>,
  "listWorkflows" | "getWorkflow" | "createWorkflow" | "deleteWorkflow" | "undeleteWorkflow" | "validateDefinition" | "getWorkflowRevision"
>;

/** How long a delete waits for the executions it cancels; the rest goes on without it. */
const sweepBudgetMs = 5_000;

export function workflowRpcs(parts: RpcParts): WorkflowRpcs {
  const { workflows } = parts;
  return {
    async listWorkflows(request, context) {
      const caller = callerOf(context);
      const filter = workflowFilterOf(request.filter);
      const order = orderByOf(request.orderBy, workflowOrders, { field: "create_time", descending: true });
      const { pageSize, pageToken, showDeleted } = request;
      const wish = { pageSize, pageToken, shape: [request.filter, showDeleted, order.field, order.descending] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListWorkflows", wish, async (page) => {
        const isWhole = request.view === View.FULL;
        const pageSize = isWhole ? Math.min(page.pageSize, wholeItemsMax) : page.pageSize;
        const found = await workflows.listWorkflows(caller, { ...page, pageSize, filter, showDeleted, order });
        if (!isWhole) return { ...found, items: found.items.map((item) => workflowToMessage(item, "basic")) };
        const whole = await inTurns(found.items, (item) => fullMessage(workflows, caller, item));
        const fitting = countFitting(WorkflowSchema, whole);
        const last = found.items[fitting - 1];
        return { items: whole.slice(0, fitting), nextAfterId: fitting < whole.length && last ? workflows.positionAfter(order, last) : found.nextAfterId };
      });
      const totalSize = request.includeTotalSize ? { totalSize: BigInt(await workflows.countWorkflows(caller, { filter, showDeleted })) } : {};
      return create(ListWorkflowsResponseSchema, { workflows: [...items], nextPageToken, ...totalSize });
    },

    async getWorkflow(request, context) {
      const caller = callerOf(context);
      const workflow = await workflows.getWorkflow(caller, request.workflow);
      if (!workflow) throw workflowNotFound(request.workflow);
      if (request.view === View.BASIC) return create(GetWorkflowResponseSchema, { workflow: workflowToMessage(workflow, "basic") });
      const revision = await workflows.getRevision(caller, workflow.id, workflow.activeRevision || "latest");
      return create(GetWorkflowResponseSchema, { workflow: workflowToMessage(workflow, "full", revision) });
    },

    async createWorkflow(request, context) {
      const caller = callerOf(context);
      const wish = request.workflow;
      if (!wish?.definition) throw missingField("workflow.definition");
      const { source: given, warnings } = checkDefinition(wish.definition, await parts.stepTypesOf(caller.tenantId), "workflow.definition");
      const source = await pinChildren(workflows, caller, given, "workflow.definition", { name: wish.name });
      await checkSecretBindings(parts.secrets, caller, source, wish.secretBindings, "workflow.secret_bindings");
      if (request.validateOnly) {
        if (await workflows.getWorkflow(caller, wish.name)) throw nameTaken(wish.name);
        return create(CreateWorkflowResponseSchema, { workflow: wish, warnings });
      }
      const stored = await workflows.createWorkflow(caller, {
        name: wish.name,
        displayName: wish.displayName,
        description: wish.description,
        labels: wish.labels,
        annotations: wish.annotations,
        definition: source,
        secretBindings: wish.secretBindings,
        changeNote: request.revisionNote,
        activate: !request.draftOnly,
      });
      return create(CreateWorkflowResponseSchema, { workflow: workflowToMessage(stored.workflow, "full", stored.revision), warnings });
    },

    async deleteWorkflow(request, context) {
      const caller = callerOf(context);
      const deleted = await workflows.deleteWorkflow(caller, request.workflow, request);
      if (!deleted) throw workflowNotFound(request.workflow);
      const { workflow, openExecutions } = deleted;
      if (!request.validateOnly) {
        await afterCommit(caller, async () => {
          parts.workflowsChanged(caller.tenantId);
          if (openExecutions > 0) await parts.sweeps.run(caller.tenantId, workflow.id, sweepBudgetMs);
        });
      }
      return create(DeleteWorkflowResponseSchema, { workflow: workflowToMessage(workflow, "basic"), canceledExecutionCount: BigInt(openExecutions) });
    },

    async undeleteWorkflow(request, context) {
      const caller = callerOf(context);
      const workflow = await workflows.undeleteWorkflow(caller, request.workflow, request);
      if (!workflow) throw workflowNotFound(request.workflow);
      if (!request.validateOnly) await afterCommit(caller, () => parts.workflowsChanged(caller.tenantId));
      return create(UndeleteWorkflowResponseSchema, { workflow: workflowToMessage(workflow, "basic") });
    },

    async validateDefinition(request, context) {
      if (!request.definition) throw missingField("definition");
      const { parametersSchema } = request;
      const schemaProblem = parametersSchema && findSchemaProblem(parametersSchema);
      // What the field rules refuse elsewhere is part of the report here.
      const broken = findRuleFaults(contractValidator, WorkflowDefinitionSchema, request.definition).map((fault) => ({
        ...fault,
        field: `definition.${fault.field}`,
      }));
      const source = definitionToJson(request.definition);
      const types = await parts.stepTypesOf(callerOf(context).tenantId);
      const parsed = parseDefinition(source, types, "definition", schemaProblem === undefined ? parametersSchema : undefined);
      const bindings = await findBindingFaults(parts.secrets, callerOf(context), source, request.secretBindings, "secret_bindings");
      // A secret that is missing is named in a list of its own; what cannot be bound at all is an error.
      const unbound = bindings.violations.filter(({ reason }) => reason !== "SECRET_NOT_FOUND");
      const children = await findChildFaults(workflows, callerOf(context), source, "definition", {});
      const badSchema =
        schemaProblem === undefined
          ? []
          : [{ field: "parameters_schema", reason: "SCHEMA_INVALID" as const, description: `parameters_schema: ${schemaProblem}` }];
      // Too many steps are found by both.
      const further = parsed.ok
        ? []
        : parsed.fault.violations.filter(({ field, reason }) => !broken.some((one) => one.field === field && one.reason === reason));
      const faults = [...broken, ...further, ...unbound, ...badSchema, ...children.violations];
      const warnings = parsed.ok ? parsed.value.warnings : [];
      return create(ValidateDefinitionResponseSchema, {
        valid: faults.length === 0,
        errors: faults.map((fault) => issueOf(fault, "definition", source)),
        warnings: warnings.map((warning) => issueOf(warning, "definition", source)),
        missingSecrets: [...bindings.missing],
        ...(parsed.ok ? reportOf(parsed.value.definition, parametersSchema) : {}),
        ...(faults.length === 0 ? { digest: createHash("sha256").update(canonicalJson(source)).digest("hex") } : {}),
      });
    },

    async getWorkflowRevision(request, context) {
      const caller = callerOf(context);
      const workflow = await workflows.getWorkflow(caller, request.workflow);
      if (!workflow) throw workflowNotFound(request.workflow);
      const revision = await workflows.getRevision(caller, workflow.id, request.revision);
      if (!revision) throw new AppError("REVISION_NOT_FOUND", `workflow ${workflow.name} has no revision ${request.revision}`);
      return create(GetWorkflowRevisionResponseSchema, { revision: revisionToMessage(revision, workflow.activeRevision, "full") });
    },
  };
}

/** With the active revision, or the latest one where none is active. */
async function fullMessage(workflows: RpcParts["workflows"], caller: Caller, workflow: WorkflowRecord): Promise<Workflow> {
  const revision = await workflows.getRevision(caller, workflow.id, workflow.activeRevision || workflow.latestRevision);
  return workflowToMessage(workflow, "full", revision);
}

/** What is known of a definition that parses. */
function reportOf(definition: Definition, parametersSchema: JsonObject | undefined) {
  const types = inferredTypes(definition, kindsOfData(definition, parametersSchema));
  return {
    inferredTypes: types.map(({ path, type }) => create(InferredTypeSchema, { path: path.replace(/^definition\./, ""), type })),
    unreachableSteps: unreachableSteps(definition),
    sagaPlan: sagaPlanOf(definition),
  };
}

export function workflowNotFound(reference: string): AppError {
  return new AppError("WORKFLOW_NOT_FOUND", `workflow ${reference} does not exist`, { metadata: { workflow: reference } });
}

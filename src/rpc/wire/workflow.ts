/** Workflows and their revisions as their readers see them. */
import { create, fromJson, toJson } from "@bufbuild/protobuf";
import { type StepOverride, StepOverrideSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import {
  type Lineage as LineageMessage,
  LineageSchema,
  type Workflow,
  type WorkflowRevision,
  WorkflowRevisionSchema,
  WorkflowSchema,
} from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { isJsonObject, type Json } from "../../base/json.ts";
import type { RevisionSummary } from "../../store/workflow-repository.ts";
import type { Labels, Lineage, RevisionRecord, WorkflowRecord } from "../../store/workflow-row.ts";
import { definitionFromJson } from "./definition.ts";
import { workflowStateWords } from "./enums.ts";
import type { WireView } from "./step.ts";
import { timestampOf } from "./time.ts";

/** How long a deleted workflow or template can be taken back: 30 days. */
const undeleteMs = 30 * 86_400_000;

/** `revision` is the active one (the latest where none is active); it brings definition (`full` only), lineage and bindings. */
export function workflowToMessage(record: WorkflowRecord, view: WireView, revision?: RevisionRecord): Workflow {
  return create(WorkflowSchema, {
    id: record.id,
    name: record.name,
    displayName: record.displayName,
    description: record.description,
    state: workflowStateWords.valueOf(record.state),
    activeRevision: record.activeRevision,
    latestRevision: record.latestRevision,
    definition: view === "full" && revision ? definitionFromJson(revision.definition) : undefined,
    lineage: revision && lineageToMessage(revision.lineage, revision.secretBindings),
    secretBindings: { ...revision?.secretBindings },
    labels: { ...record.labels },
    annotations: { ...record.annotations },
    etag: record.etag,
    createTime: timestampOf(record.createdAt),
    updateTime: timestampOf(record.updatedAt),
    deleteTime: timestampOf(record.deletedAt),
    purgeTime: timestampOf(record.deletedAt === undefined ? undefined : record.deletedAt + undeleteMs),
  });
}

/** `activeRevision` is the workflow's. */
export function revisionToMessage(record: RevisionRecord, activeRevision: number, view: WireView): WorkflowRevision {
  return create(WorkflowRevisionSchema, {
    workflowId: record.workflowId,
    revision: record.revision,
    definition: view === "full" ? definitionFromJson(record.definition) : undefined,
    digest: record.digest,
    lineage: lineageToMessage(record.lineage, record.secretBindings),
    secretBindings: { ...record.secretBindings },
    note: record.changeNote,
    creator: record.creator,
    createTime: timestampOf(record.createdAt),
    active: record.revision === activeRevision,
  });
}

/** A listed revision: without definition, of its lineage only template and version. */
export function revisionSummaryToMessage(summary: RevisionSummary, activeRevision: number): WorkflowRevision {
  const { templateId, templateVersion } = summary;
  return create(WorkflowRevisionSchema, {
    workflowId: summary.workflowId,
    revision: summary.revision,
    digest: summary.digest,
    lineage: templateId === undefined ? undefined : create(LineageSchema, { templateId, templateVersion: templateVersion ?? 0 }),
    note: summary.changeNote,
    creator: summary.creator,
    createTime: timestampOf(summary.createdAt),
    active: summary.revision === activeRevision,
  });
}

export function lineageToMessage(lineage: Lineage, secretBindings: Labels): LineageMessage;
export function lineageToMessage(lineage: Lineage | undefined, secretBindings: Labels): LineageMessage | undefined;
export function lineageToMessage(lineage: Lineage | undefined, secretBindings: Labels): LineageMessage | undefined {
  return (
    lineage &&
    create(LineageSchema, {
      templateId: lineage.templateId,
      templateVersion: lineage.templateVersion,
      parameters: lineage.parameters,
      secretBindings: { ...secretBindings },
      overrides: overridesFromJson(lineage.overrides),
    })
  );
}

/** Overrides as they are stored: a list in proto JSON. */
function overridesFromJson(overrides: Json): StepOverride[] {
  if (!Array.isArray(overrides)) return [];
  return overrides.filter(isJsonObject).map((override) => fromJson(StepOverrideSchema, override, { ignoreUnknownFields: true }));
}

export function overridesToJson(overrides: readonly StepOverride[]): Json[] {
  return overrides.map((override) => toJson(StepOverrideSchema, override, { useProtoFieldName: true }) as Json);
}

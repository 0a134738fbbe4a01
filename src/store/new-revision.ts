/** What a caller hands in to become a revision of a workflow, and how that becomes a row. */
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Json, JsonObject } from "../base/json.ts";
import type { Workflow } from "./entities/workflow.ts";
import type { WorkflowRevision } from "./entities/workflow-revision.ts";
import { digestOf, etagOf } from "./fingerprint.ts";
import { assertStorable } from "./storable.ts";
import { type Labels, type Lineage, toRevision } from "./workflow-row.ts";

export interface NewRevision {
  readonly definition: JsonObject;
  readonly changeNote?: string | undefined;
  readonly lineage?: Lineage | undefined;
  readonly secretBindings?: Labels | undefined;
  /** Whether starts use it from now on; default true. */
  readonly activate?: boolean | undefined;
}

/** The fields of a new revision, named one by one: nothing a caller sent is spread into a row. */
export function revisionEntity(caller: Pick<Caller, "tenantId" | "actor">, workflowId: string, revision: number, input: NewRevision) {
  const { lineage } = input;
  return {
    tenantId: caller.tenantId,
    workflowId,
    revision,
    definition: input.definition,
    digest: digestOf(input.definition),
    changeNote: input.changeNote ?? "",
    templateId: lineage ? (parseId("template", lineage.templateId) ?? null) : null,
    templateVersion: lineage?.templateVersion ?? null,
    parameters: lineage?.parameters ?? null,
    overrides: lineage?.overrides ?? null,
    secretBindings: { ...input.secretBindings },
    creator: caller.actor,
  };
}

/** @throws AppError VALIDATION_FAILED */
export function assertStorableRevision({ lineage, ...input }: NewRevision): void {
  assertStorable({ ...input, parameters: lineage?.parameters, overrides: lineage?.overrides });
}

type EtagFields = Pick<
  Workflow,
  "name" | "displayName" | "description" | "state" | "activeRevision" | "latestRevision" | "labels" | "annotations" | "pausedStarts" | "pauseReason"
>;

/** Everything a caller can change. */
export function workflowEtag(head: EtagFields): string {
  const { name, displayName, description, state, activeRevision, latestRevision, labels, annotations, pausedStarts, pauseReason } = head;
  const pause = state === "paused" ? { pausedStarts, pauseReason } : {};
  return etagOf({ name, displayName, description, state, activeRevision, latestRevision, labels, annotations, ...pause });
}

/** Whether `next` says what the latest revision says already: definition, lineage and bindings. */
export function isSameRevision(latest: WorkflowRevision, next: NewRevision): boolean {
  const { lineage } = toRevision(latest);
  const sameLineage = digestOf((lineage ?? null) as Json) === digestOf((next.lineage ?? null) as Json);
  return sameLineage && latest.digest === digestOf(next.definition) && digestOf(latest.secretBindings) === digestOf({ ...next.secretBindings });
}

export function nameTaken(name: string): AppError {
  return new AppError("NAME_TAKEN", `the name ${name} is taken; choose another one`, { metadata: { name } });
}

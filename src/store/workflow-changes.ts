/**
 * What changes a workflow's head. Each change locks the head, compares the etag, and writes head and (perhaps) revision in
 * one transaction, so two callers cannot make the same revision number. Undefined means: no such workflow.
 */
import type { EntityManager } from "@mikro-orm/postgresql";
import { LockMode } from "@mikro-orm/postgresql";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Database } from "./database.ts";
import { guarded, isUniqueViolation } from "./database-error.ts";
import { databaseNow } from "./database-now.ts";
import { Workflow, type WorkflowStatus } from "./entities/workflow.ts";
import { WorkflowExecution } from "./entities/workflow-execution.ts";
import { WorkflowRevision } from "./entities/workflow-revision.ts";
import { checkEtag } from "./fingerprint.ts";
import { assertStorableRevision, isSameRevision, type NewRevision, nameTaken, revisionEntity, workflowEtag } from "./new-revision.ts";
import { assertStorable, isStorable } from "./storable.ts";
import { type Labels, toRevision, toWorkflow, type WorkflowRecord, type WorkflowWithRevision } from "./workflow-row.ts";

/** Absent fields stay as they are. */
export interface WorkflowUpdate {
  readonly etag?: string | undefined;
  readonly displayName?: string | undefined;
  readonly description?: string | undefined;
  readonly labels?: Labels | undefined;
  readonly annotations?: Labels | undefined;
  /** Makes the next revision, unless definition, lineage and bindings equal the latest one's. */
  readonly revision?: NewRevision | undefined;
}

export interface EtagOption {
  readonly etag?: string | undefined;
}

export interface WorkflowChanges {
  /** The answer's revision is the latest one. @throws AppError ETAG_MISMATCH */
  updateWorkflow(caller: Caller, reference: string, update: WorkflowUpdate): Promise<WorkflowWithRevision | undefined>;
  /** Starts use `revision` from now on; a draft becomes active. @throws AppError REVISION_NOT_FOUND, ETAG_MISMATCH */
  activateRevision(caller: Caller, reference: string, revision: number, options?: EtagOption): Promise<WorkflowRecord | undefined>;
  /** @throws AppError WORKFLOW_NOT_ACTIVE for a draft, ETAG_MISMATCH */
  setPaused(caller: Caller, reference: string, paused: boolean, options?: EtagOption): Promise<WorkflowRecord | undefined>;
  /** Soft: the name is free at once, revisions stay readable. @throws AppError WORKFLOW_IN_USE (open executions, unless `force`), ETAG_MISMATCH */
  deleteWorkflow(caller: Caller, reference: string, options?: EtagOption & { readonly force?: boolean }): Promise<WorkflowRecord | undefined>;
  /** Takes an id. Active again if it ever was, else a draft; a workflow that is not deleted is returned as it is. @throws AppError NAME_TAKEN, ETAG_MISMATCH */
  undeleteWorkflow(caller: Caller, workflowId: string, options?: EtagOption): Promise<WorkflowRecord | undefined>;
}

export function changeWorkflow({ orm }: Pick<Database, "orm">): WorkflowChanges {
  /** Runs `change` on the locked head and returns it as written. */
  const onHead = (
    caller: Caller,
    reference: string,
    options: EtagOption & { readonly deletedToo?: boolean },
    change: (head: Workflow, em: EntityManager) => Promise<void> | void,
  ): Promise<Workflow | undefined> =>
    guarded(() =>
      orm.em.fork().transactional(async (em) => {
        const head = await lockHead(em, caller.tenantId, reference, options.deletedToo ?? false);
        if (!head) return undefined;
        checkEtag(options.etag, head.etag);
        await change(head, em);
        const etag = workflowEtag(head);
        if (etag === head.etag) return head;
        head.etag = etag;
        head.updateTime = databaseNow();
        await flush(em, head.name);
        return head;
      }),
    );

  return {
    async updateWorkflow(caller, reference, update) {
      const { revision: next, ...fields } = update;
      assertStorable(fields);
      if (next) assertStorableRevision(next);
      let revision: WorkflowRevision | undefined;
      const head = await onHead(caller, reference, update, async (head, em) => {
        if (update.displayName !== undefined) head.displayName = update.displayName;
        if (update.description !== undefined) head.description = update.description;
        if (update.labels !== undefined) head.labels = { ...update.labels };
        if (update.annotations !== undefined) head.annotations = { ...update.annotations };
        revision = await em.findOneOrFail(WorkflowRevision, { tenantId: head.tenantId, workflowId: head.id, revision: head.latestRevision });
        if (update.revision === undefined) return;
        if (!isSameRevision(revision, update.revision)) {
          head.latestRevision += 1;
          revision = em.create(WorkflowRevision, revisionEntity(head.tenantId, head.id, head.latestRevision, update.revision));
        }
        if (update.revision.activate ?? true) activate(head, head.latestRevision);
      });
      return head && revision && { workflow: toWorkflow(head), revision: toRevision(revision) };
    },

    async activateRevision(caller, reference, revision, options = {}) {
      const head = await onHead(caller, reference, options, (head) => {
        if (!Number.isInteger(revision) || revision < 1 || revision > head.latestRevision) {
          throw new AppError("REVISION_NOT_FOUND", `there is no revision ${revision}; the latest one is ${head.latestRevision}`);
        }
        activate(head, revision);
      });
      return head && toWorkflow(head);
    },

    async setPaused(caller, reference, paused, options = {}) {
      const head = await onHead(caller, reference, options, (head) => {
        if (head.state === "draft") throw new AppError("WORKFLOW_NOT_ACTIVE", "a draft cannot be paused or resumed; activate a revision first");
        head.state = paused ? "paused" : "active";
      });
      return head && toWorkflow(head);
    },

    async deleteWorkflow(caller, reference, { etag, force = false } = {}) {
      const head = await onHead(caller, reference, { etag }, async (head, em) => {
        // On the transaction's own connection: asking the pool for a second one can starve when many delete at once.
        const open = force ? null : await em.findOne(WorkflowExecution, { tenantId: head.tenantId, workflowId: head.id, endTime: null }, { fields: ["id"] });
        if (open) {
          throw new AppError("WORKFLOW_IN_USE", "the workflow has open executions; wait for them, cancel them or use force");
        }
        head.state = "deleted";
        head.deleteTime = databaseNow();
      });
      return head && toWorkflow(head);
    },

    async undeleteWorkflow(caller, workflowId, options = {}) {
      const head = await onHead(caller, workflowId, { ...options, deletedToo: true }, (head) => {
        if (head.state !== "deleted") return;
        head.state = head.activeRevision > 0 ? "active" : "draft";
        head.deleteTime = null;
      });
      return head && toWorkflow(head);
    },
  };
}

/** Only an undelete can meet a taken name: its old name may have gone to another workflow. */
async function flush(em: EntityManager, name: string): Promise<void> {
  try {
    await em.flush();
  } catch (error) {
    throw isUniqueViolation(error, "workflows_name_key") ? nameTaken(name) : error;
  }
}

async function lockHead(em: EntityManager, tenantId: string, reference: string, deletedToo: boolean): Promise<Workflow | undefined> {
  const id = parseId("workflow", reference);
  if (!id && !isStorable(reference)) return undefined;
  const head = await em.findOne(Workflow, id ? { tenantId, id } : { tenantId, name: reference, deleteTime: null }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  return head && (deletedToo || head.deleteTime == null) ? head : undefined;
}

function activate(head: Workflow, revision: number): void {
  head.activeRevision = revision;
  if (head.state === "draft") head.state = "active" satisfies WorkflowStatus;
}

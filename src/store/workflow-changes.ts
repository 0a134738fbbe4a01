/**
 * What changes a workflow's head. Each change locks the head, compares the etag, and writes head and (perhaps) revision in
 * one transaction, so two callers cannot make the same revision number. Undefined means: no such workflow.
 */
import type { EntityManager } from "@mikro-orm/postgresql";
import { LockMode } from "@mikro-orm/postgresql";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { type IdSource, parseId } from "../base/ids.ts";
import type { Database } from "./database.ts";
import { guarded, isUniqueViolation } from "./database-error.ts";
import { databaseNow } from "./database-now.ts";
import { Workflow, type WorkflowStatus } from "./entities/workflow.ts";
import { WorkflowExecution } from "./entities/workflow-execution.ts";
import { WorkflowRevision } from "./entities/workflow-revision.ts";
import { WorkflowSweep } from "./entities/workflow-sweep.ts";
import { checkEtag } from "./fingerprint.ts";
import { assertStorableRevision, isSameRevision, type NewRevision, nameTaken, revisionEntity, workflowEtag } from "./new-revision.ts";
import { assertStorable, isStorable } from "./storable.ts";
import { withEntities } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";
import { type Labels, type PausedStarts, toRevision, toWorkflow, type WorkflowRecord, type WorkflowWithRevision } from "./workflow-row.ts";
import type { SweepCommand } from "./workflow-sweeps.ts";

/** Absent fields stay as they are. */
export interface WorkflowUpdate extends ChangeOptions {
  readonly name?: string | undefined;
  readonly displayName?: string | undefined;
  readonly description?: string | undefined;
  readonly labels?: Labels | undefined;
  readonly annotations?: Labels | undefined;
  /** Makes the next revision, unless definition, lineage and bindings equal the latest one's. */
  readonly revision?: NextRevision | undefined;
}

/** Absent lineage and bindings are those of the latest revision. */
export type NextRevision = Omit<NewRevision, "lineage"> & { readonly lineage?: NewRevision["lineage"] | "as before" };

export interface ChangeOptions {
  readonly etag?: string | undefined;
  /** Everything but the commit: the answer is what would have been. */
  readonly validateOnly?: boolean | undefined;
}

export interface PauseChange {
  readonly paused: boolean;
  readonly starts: PausedStarts;
  readonly reason: string;
  /** Its open executions get the command too. */
  readonly alsoRunning: boolean;
}

export interface PausedWorkflow extends WorkflowRecord {
  /** Open executions that its sweep pauses or resumes; 0 without `alsoRunning`. */
  readonly concernedExecutions: number;
}

export interface WorkflowChanges {
  /** The answer's revision is the latest one. @throws AppError ETAG_MISMATCH, NAME_TAKEN */
  updateWorkflow(caller: Caller, reference: string, update: WorkflowUpdate): Promise<WorkflowWithRevision | undefined>;
  /** Starts use `revision` from now on; a draft becomes active. @throws AppError REVISION_NOT_FOUND, ETAG_MISMATCH */
  activateRevision(caller: Caller, reference: string, revision: number, options?: ChangeOptions): Promise<WorkflowRecord | undefined>;
  /** The revision that was active before the present one is active again, and the other way round. @throws AppError REVISION_NOT_FOUND, ETAG_MISMATCH */
  rollbackWorkflow(caller: Caller, reference: string, options?: ChangeOptions): Promise<WorkflowRecord | undefined>;
  /** Leaves a sweep for its executions behind where one is needed. @throws AppError WORKFLOW_NOT_ACTIVE for a draft, ETAG_MISMATCH */
  setPaused(caller: Caller, reference: string, change: PauseChange, options?: ChangeOptions): Promise<PausedWorkflow | undefined>;
  /**
   * Soft: the name is free at once, revisions stay readable. With `force` a sweep cancels its open executions.
   * @throws AppError WORKFLOW_IN_USE (open executions, unless `force`), ETAG_MISMATCH
   */
  deleteWorkflow(
    caller: Caller,
    reference: string,
    options?: ChangeOptions & { readonly force?: boolean },
  ): Promise<{ readonly workflow: WorkflowRecord; readonly openExecutions: number } | undefined>;
  /** Takes an id. Active again if it ever was, else a draft; a workflow that is not deleted is returned as it is. @throws AppError NAME_TAKEN, ETAG_MISMATCH */
  undeleteWorkflow(caller: Caller, workflowId: string, options?: ChangeOptions): Promise<WorkflowRecord | undefined>;
}

export function changeWorkflow(database: Pick<Database, "orm" | "pool">, ids: IdSource): WorkflowChanges {
  /** Runs `change` on the locked head and returns it as written. */
  const onHead = async (
    caller: Caller,
    reference: string,
    options: ChangeOptions & { readonly deletedToo?: boolean },
    change: (head: Workflow, em: EntityManager) => Promise<void> | void,
  ): Promise<Workflow | undefined> =>
    guarded(() =>
      withEntities(
        database,
        async (em) => {
          const head = await lockHead(em, caller.tenantId, reference, options.deletedToo ?? false);
          if (!head) return undefined;
          checkEtag(options.etag, head.etag);
          await change(head, em);
          const etag = workflowEtag(head);
          if (etag !== head.etag) {
            head.etag = etag;
            head.updateTime = databaseNow();
          }
          await flush(em, head.name);
          return head;
        },
        { unit: unitOf(caller), undo: options.validateOnly },
      ),
    );

  const sweep = (em: EntityManager, caller: Caller, head: Workflow, command: SweepCommand, reason: string): void => {
    const id = parseId("workflow", ids.next("workflow")) as string;
    em.create(WorkflowSweep, { tenantId: head.tenantId, workflowId: head.id, id, command, actor: caller.actor, reason });
  };

  return {
    async updateWorkflow(caller, reference, update) {
      const { revision: next, ...fields } = update;
      assertStorable(fields);
      let revision: WorkflowRevision | undefined;
      const head = await onHead(caller, reference, update, async (head, em) => {
        if (update.name !== undefined) head.name = update.name;
        if (update.displayName !== undefined) head.displayName = update.displayName;
        if (update.description !== undefined) head.description = update.description;
        if (update.labels !== undefined) head.labels = { ...update.labels };
        if (update.annotations !== undefined) head.annotations = { ...update.annotations };
        revision = await em.findOneOrFail(WorkflowRevision, { tenantId: head.tenantId, workflowId: head.id, revision: head.latestRevision });
        if (next === undefined) return;
        const latest = toRevision(revision);
        const wanted: NewRevision = {
          ...next,
          lineage: next.lineage === "as before" ? latest.lineage : next.lineage,
          secretBindings: next.secretBindings ?? latest.secretBindings,
        };
        assertStorableRevision(wanted);
        if (!isSameRevision(revision, wanted)) {
          head.latestRevision += 1;
          revision = em.create(WorkflowRevision, revisionEntity(caller, head.id, head.latestRevision, wanted));
        }
        if (wanted.activate ?? true) activate(head, head.latestRevision);
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

    async rollbackWorkflow(caller, reference, options = {}) {
      const head = await onHead(caller, reference, options, (head) => {
        if (head.previousRevision === 0) {
          throw new AppError("REVISION_NOT_FOUND", `no revision was active before revision ${head.activeRevision}; activate one by its number`);
        }
        activate(head, head.previousRevision);
      });
      return head && toWorkflow(head);
    },

    async setPaused(caller, reference, { paused, starts, reason, alsoRunning }, options = {}) {
      let concernedExecutions = 0;
      const head = await onHead(caller, reference, options, async (head, em) => {
        if (head.state === "draft") throw new AppError("WORKFLOW_NOT_ACTIVE", "a draft cannot be paused or resumed; activate a revision first");
        // What they would still say (let queued starts begin, pause late ones) is not wanted any more.
        await em.nativeDelete(WorkflowSweep, { tenantId: head.tenantId, workflowId: head.id, passes: { $gt: 0 } });
        const wasPaused = head.state === "paused";
        head.state = paused ? "paused" : "active";
        head.pausedStarts = paused ? starts : "queue";
        head.pauseReason = paused ? reason : "";
        if (alsoRunning) {
          const open = { tenantId: head.tenantId, workflowId: head.id, endTime: null };
          const concerned = paused ? { paused: false, state: { $ne: "pending" as const } } : { $or: [{ paused: true }, { state: "pending" as const }] };
          concernedExecutions = await em.count(WorkflowExecution, { ...open, ...concerned });
          sweep(em, caller, head, paused ? "pause" : "resume", reason);
        } else if (wasPaused && !paused) sweep(em, caller, head, "release", reason);
      });
      return head && { ...toWorkflow(head), concernedExecutions };
    },

    async deleteWorkflow(caller, reference, options = {}) {
      let openExecutions = 0;
      const head = await onHead(caller, reference, options, async (head, em) => {
        // On the transaction's own connection: asking the pool for a second one can starve when many delete at once.
        const open = { tenantId: head.tenantId, workflowId: head.id, endTime: null };
        if (options.force) {
          openExecutions = await em.count(WorkflowExecution, open);
          if (openExecutions > 0) sweep(em, caller, head, "cancel", "its workflow was deleted");
        } else if (await em.findOne(WorkflowExecution, open, { fields: ["id"] })) {
          throw new AppError("WORKFLOW_IN_USE", "the workflow has open executions; wait for them, cancel them or use force");
        }
        head.state = "deleted";
        head.deleteTime = databaseNow();
      });
      return head && { workflow: toWorkflow(head), openExecutions };
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

/** A new name, and an undelete whose old name went to another workflow meanwhile, can meet a taken one. */
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
  const lock = { lockMode: LockMode.PESSIMISTIC_WRITE as const };
  const head = await em.findOne(Workflow, id ? { tenantId, id } : { tenantId, name: reference, deleteTime: null }, lock);
  if (!head && !id && deletedToo) {
    const deleted = await em.find(Workflow, { tenantId, name: reference, deleteTime: { $ne: null } }, { ...lock, limit: 2 });
    return deleted.length === 1 ? deleted[0] : undefined;
  }
  return head && (deletedToo || head.deleteTime == null) ? head : undefined;
}

function activate(head: Workflow, revision: number): void {
  if (head.activeRevision !== revision && head.activeRevision > 0) head.previousRevision = head.activeRevision;
  head.activeRevision = revision;
  if (head.state === "draft") head.state = "active" satisfies WorkflowStatus;
}

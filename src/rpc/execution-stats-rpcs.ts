/** MonitoringService: what became of executions and steps, by workflow and revision. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { GetExecutionStatsResponseSchema, type MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, violationsError } from "../base/errors.ts";
import { statsReport } from "../domain/stats/stats-report.ts";
import { kindOf, stepsOf } from "../domain/templates/walk-steps.ts";
import type { StatsSelection } from "../store/stats-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { executionStatsOf, windowToMessage, workflowStatsOf } from "./wire/stats.ts";
import { msOfTimestamp } from "./wire/time.ts";
import { workflowNotFound } from "./workflow-rpcs.ts";

type StatsRpcs = Pick<ServiceImpl<typeof MonitoringService>, "getExecutionStats">;
type StatsParts = Pick<RpcParts, "stats" | "workflows" | "clock">;

const dayMs = 86_400_000;
const windowMsMax = 7 * dayMs;
/** The answer stays below a megabyte. */
const reportBounds = { revisionsMax: 100, stepsMax: 2_000 };

export function executionStatsRpcs(parts: StatsParts): StatsRpcs {
  return {
    async getExecutionStats({ workflow, revision, startTime, endTime }, context) {
      const caller = callerOf(context);
      const window = windowOf(msOfTimestamp(startTime), msOfTimestamp(endTime), parts.clock.now());
      const subject = await subjectOf(parts, caller, workflow, revision);
      const read = await parts.stats.readCreated(caller, { ...window, ...subject });
      const report = statsReport(read, reportBounds);
      const typesOf = stepTypesOf(parts, caller);
      const workflows = [];
      for (const item of report.workflows) {
        const types = new Map<number, ReadonlyMap<string, string>>();
        for (const one of item.revisions) types.set(one.revision, await typesOf(item.workflowId, one.revision));
        workflows.push(workflowStatsOf(item, read.names.get(item.workflowId) ?? "", types));
      }
      return create(GetExecutionStatsResponseSchema, {
        window: windowToMessage(read.window),
        total: executionStatsOf(report.total),
        workflows,
        revisionsLeftOut: report.revisionsLeftOut,
        stepWindow: windowToMessage(read.stepWindow),
        stepExecutions: BigInt(read.stepExecutions),
      });
    },
  };
}

/** Step name → type, of one revision; empty for standalone sagas and for a revision that is gone. */
export function stepTypesOf({ workflows }: Pick<RpcParts, "workflows">, caller: Caller) {
  return async (workflowId: string, revision: number): Promise<ReadonlyMap<string, string>> => {
    const found = workflowId === "" ? undefined : await workflows.getRevision(caller, workflowId, revision);
    return new Map(found && stepsOf(found.definition).map(({ name, step }) => [name, kindOf(step) ?? ""] as const));
  };
}

function windowOf(startAt: number | undefined, endAt: number | undefined, now: number): Pick<StatsSelection, "from" | "to" | "untilNow"> {
  const to = endAt ?? now;
  const from = startAt ?? to - dayMs;
  if (from < 0) throw violationsError([{ field: "start_time", reason: "VALIDATION_FAILED", description: "must not be before 1970" }]);
  if (from >= to || to - from > windowMsMax) {
    const description = `must be before end_time, by at most ${windowMsMax / dayMs} days`;
    throw violationsError([{ field: "start_time", reason: "VALIDATION_FAILED", description }]);
  }
  return { from, to, untilNow: endAt === undefined };
}

async function subjectOf(
  { workflows }: StatsParts,
  caller: Caller,
  reference: string,
  revision: number,
): Promise<Pick<StatsSelection, "workflowId" | "revision">> {
  if (reference === "") {
    if (revision === 0) return {};
    throw violationsError([{ field: "revision", reason: "VALIDATION_FAILED", description: "is a revision of one workflow; name it in workflow" }]);
  }
  const workflow = await workflows.getWorkflow(caller, reference, { showDeleted: true });
  if (!workflow) throw workflowNotFound(reference);
  if (revision === 0) return { workflowId: workflow.id };
  if (revision > workflow.latestRevision) {
    const metadata = { workflow: workflow.name, revision: String(revision) };
    throw new AppError("REVISION_NOT_FOUND", `workflow ${workflow.name} has no revision ${revision}`, { metadata });
  }
  return { workflowId: workflow.id, revision };
}

/** MonitoringService: what happened in the time until now, in the caller's tenant and in the process that answers. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { GetMetricsResponseSchema, type MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { revisionsByRuns, type StepGroup, totalsByType } from "../domain/stats/step-stats.ts";
import { stepTypesOf } from "./execution-stats-rpcs.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { activityOf, processOf, queueOf, stepActivityOf } from "./wire/metrics.ts";
import { msOfDuration } from "./wire/time.ts";

type MetricsRpcs = Pick<ServiceImpl<typeof MonitoringService>, "getMetrics">;

const windowMsDefault = 3_600_000;
/** Revisions that are read for the types of their steps. */
const revisionsMax = 100;

export function metricsRpcs(parts: Pick<RpcParts, "stats" | "workflows" | "self" | "clock">): MetricsRpcs {
  return {
    async getMetrics({ window }, context) {
      const caller = callerOf(context);
      const windowMs = msOfDuration(window) ?? windowMsDefault;
      const to = parts.clock.now();
      const read = await parts.stats.readActivity(caller, { from: to - windowMs, to });
      const types = totalsByType(read.steps, await typeLookup(parts, caller, read.steps));
      return create(GetMetricsResponseSchema, {
        executions: activityOf(read),
        steps: stepActivityOf(read, types),
        queue: queueOf(read.backlog),
        process: processOf(parts.self, windowMs),
      });
    },
  };
}

async function typeLookup(parts: Pick<RpcParts, "workflows">, caller: Caller, steps: readonly StepGroup[]): Promise<(group: StepGroup) => string> {
  const typesOf = stepTypesOf(parts, caller);
  const known = new Map<string, ReadonlyMap<string, string>>();
  for (const { workflowId, revision } of revisionsByRuns(steps).slice(0, revisionsMax)) {
    known.set(`${workflowId} ${revision}`, await typesOf(workflowId, revision));
  }
  return ({ workflowId, revision, name }) => known.get(`${workflowId} ${revision}`)?.get(name) ?? "";
}

/** What a tenant and a process did in a window, as messages. */
import { create } from "@bufbuild/protobuf";
import {
  type DurationPercentiles,
  DurationPercentilesSchema,
  type ExecutionActivity,
  ExecutionActivitySchema,
  type ProcessMetrics,
  ProcessMetricsSchema,
  type QueueMetrics,
  QueueMetricsSchema,
  type StepActivity,
  StepActivitySchema,
} from "#gen/pyairtable/workflow/v1/monitoring_pb.js";
import { executionTotals, mostFrequent } from "../../domain/stats/execution-stats.ts";
import { actionSuccessRate, type StepTotals } from "../../domain/stats/step-stats.ts";
import { successRate } from "../../domain/templates/usage-counts.ts";
import type { TenantActivity } from "../../store/stats-repository.ts";
import type { MeasuredDurations, SelfReport } from "../process-figures.ts";
import { executionStateWords, stepStateWords } from "./enums.ts";
import { failuresOf, percentilesOf, stateCounts, windowToMessage } from "./stats.ts";
import { durationOf, fineDurationOf } from "./time.ts";

const failuresMax = 20;

export function activityOf({ window, started, ended }: TenantActivity): ExecutionActivity {
  const totals = executionTotals(ended);
  const seconds = Math.max(0.001, (window.to - window.from) / 1000);
  return create(ExecutionActivitySchema, {
    window: windowToMessage(window),
    started: BigInt(started),
    startedPerSecond: started / seconds,
    finished: BigInt(totals.ended),
    finishedPerSecond: totals.ended / seconds,
    finishedStates: stateCounts(totals.states, executionStateWords),
    successRate: successRate(totals),
    durations: percentilesOf(totals.durations),
    failures: failuresOf(totals.failures, failuresMax),
  });
}

export function stepActivityOf(
  { stepWindow, stepExecutions, failures }: TenantActivity,
  types: readonly (StepTotals & { readonly type: string })[],
): StepActivity {
  return create(StepActivitySchema, {
    window: windowToMessage(stepWindow),
    executions: BigInt(stepExecutions),
    types: types.map((totals) => ({
      type: totals.type,
      runs: BigInt(totals.runs),
      states: stateCounts(totals.states, stepStateWords),
      successRate: actionSuccessRate(totals),
      durations: percentilesOf(totals.durations),
      retries: BigInt(totals.retries),
    })),
    failures: failuresOf(mostFrequent(failures.map(({ failure, count }) => ({ name: failure, step: "", count }))), failuresMax),
  });
}

export function queueOf({ ready, oldestMs, open, stuck, tasksWaiting, taskOldestMs }: TenantActivity["backlog"]): QueueMetrics {
  return create(QueueMetricsSchema, {
    ready: BigInt(ready),
    oldestAge: durationOf(oldestMs ?? undefined),
    open: BigInt(open),
    stuck: BigInt(stuck),
    tasksWaiting: BigInt(tasksWaiting),
    taskOldestAge: durationOf(taskOldestMs ?? undefined),
  });
}

export function processOf(self: SelfReport, windowMs: number): ProcessMetrics {
  const { from, to, journalCommit, sagaCoordination, stepOverhead, caches, eventLoopDelay } = self.figures(windowMs);
  const { residentBytes, heapUsedBytes, poolMax, poolOpen, poolIdle, poolWaiting } = self.moment();
  return create(ProcessMetricsSchema, {
    replicaId: self.replicaId,
    window: windowToMessage({ from, to, shortened: false }),
    journalCommit: measuredOf(journalCommit),
    sagaCoordination: measuredOf(sagaCoordination),
    stepOverhead: stepOverhead.map(({ type, ...durations }) => ({ type, durations: measuredOf(durations) })),
    caches: caches.map(({ cache, hits, misses }) => ({
      cache,
      hits: BigInt(hits),
      misses: BigInt(misses),
      hitRate: hits + misses === 0 ? 0 : hits / (hits + misses),
    })),
    eventLoopDelay: measuredOf(eventLoopDelay),
    pool: { max: poolMax, open: poolOpen, idle: poolIdle, waiting: poolWaiting },
    memoryResidentBytes: BigInt(residentBytes),
    memoryHeapBytes: BigInt(heapUsedBytes),
  });
}

/** Undefined while nothing was measured. */
function measuredOf({ count, p50, p95, p99 }: MeasuredDurations): DurationPercentiles | undefined {
  if (count === 0) return undefined;
  return create(DurationPercentilesSchema, { p50: fineDurationOf(p50), p95: fineDurationOf(p95), p99: fineDurationOf(p99), count: BigInt(count) });
}

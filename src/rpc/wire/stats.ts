/** Statistics of executions and steps, as messages. */
import { create } from "@bufbuild/protobuf";
import {
  type DurationPercentiles,
  DurationPercentilesSchema,
  type ExecutionStats,
  ExecutionStatsSchema,
  type FailureCount as FailureCountMessage,
  FailureCountSchema,
  type StatsWindow,
  StatsWindowSchema,
  type StepStats,
  StepStatsSchema,
  type WorkflowStats,
  WorkflowStatsSchema,
} from "#gen/pyairtable/workflow/v1/monitoring_pb.js";
import type { ExecutionTotals, FailureCount } from "../../domain/stats/execution-stats.ts";
import type { StepReport, WorkflowReport } from "../../domain/stats/stats-report.ts";
import { actionSuccessRate } from "../../domain/stats/step-stats.ts";
import { type Counts, durationPercentile, successRate } from "../../domain/templates/usage-counts.ts";
import type { CountedWindow } from "../../store/stats-repository.ts";
import { type EnumWords, executionStateWords, stepStateWords } from "./enums.ts";
import { durationOf, timestampOf } from "./time.ts";

const executionFailuresMax = 10;
const stepFailuresMax = 5;

export function windowToMessage({ from, to, shortened }: CountedWindow): StatsWindow {
  return create(StatsWindowSchema, { startTime: timestampOf(from), endTime: timestampOf(to), shortened });
}

export function executionStatsOf(totals: ExecutionTotals): ExecutionStats {
  return create(ExecutionStatsSchema, {
    executions: BigInt(totals.executions),
    states: stateCounts(totals.states, executionStateWords),
    ended: BigInt(totals.ended),
    successRate: successRate(totals),
    durations: percentilesOf(totals.durations),
    topFailures: failuresOf(totals.failures, executionFailuresMax),
  });
}

/** Types of steps by revision and name. */
export function workflowStatsOf(report: WorkflowReport, name: string, types: ReadonlyMap<number, ReadonlyMap<string, string>>): WorkflowStats {
  return create(WorkflowStatsSchema, {
    workflowId: report.workflowId,
    workflowName: name,
    stats: executionStatsOf(report.totals),
    revisions: report.revisions.map(({ revision, totals, steps }) => ({
      revision,
      stats: executionStatsOf(totals),
      steps: steps.map((step) => stepStatsOf(step, types.get(revision)?.get(step.name) ?? "")),
    })),
  });
}

function stepStatsOf(step: StepReport, type: string): StepStats {
  return create(StepStatsSchema, {
    name: step.name,
    type,
    runs: BigInt(step.runs),
    states: stateCounts(step.states, stepStateWords),
    successRate: actionSuccessRate(step),
    durations: percentilesOf(step.durations),
    retries: BigInt(step.retries),
    topFailures: failuresOf(step.failures, stepFailuresMax),
  });
}

export function failuresOf(failures: readonly FailureCount[], max: number): FailureCountMessage[] {
  return failures.slice(0, max).map(({ name, step, count }) => create(FailureCountSchema, { name, step, count: BigInt(count) }));
}

/** Undefined while there are no durations. */
export function percentilesOf(durations: Counts): DurationPercentiles | undefined {
  const count = Object.values(durations).reduce((total, more) => total + more, 0);
  if (count === 0) return undefined;
  const at = (part: number) => durationOf(durationPercentile(durations, part));
  return create(DurationPercentilesSchema, { p50: at(0.5), p95: at(0.95), p99: at(0.99), count: BigInt(count) });
}

/** In the contract's order of states. */
export function stateCounts<Word extends string, Value extends number>(
  counts: ReadonlyMap<Word, number>,
  words: EnumWords<Word, Value>,
): { state: Value; count: bigint }[] {
  return [...counts].map(([state, count]) => ({ state: words.valueOf(state), count: BigInt(count) })).sort((a, b) => a.state - b.state);
}

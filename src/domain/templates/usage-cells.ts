/** Cells of usage: one per template version and hour, and what adds up to them. */
import { addUsage, type Counts, noUsage, type UsageCounts } from "./usage-counts.ts";

export interface UsageCell {
  readonly templateUuid: string;
  readonly version: number;
  /** Start of the hour, milliseconds since the epoch. */
  readonly hourAt: number;
  readonly counts: UsageCounts;
}

/** Executions created in one hour, of one version. */
export interface StartedGroup {
  readonly templateUuid: string;
  readonly version: number;
  readonly hourAt: number;
  readonly started: number;
  readonly lastStartedAt: number;
}

/** Executions that ended alike in one hour, of one version. */
export interface EndedGroup {
  readonly templateUuid: string;
  readonly version: number;
  readonly hourAt: number;
  readonly completed: boolean;
  /** Of completed ones. */
  readonly bucket: number | null;
  /** Name of the step that made the others end. */
  readonly failedStep: string | null;
  readonly count: number;
}

/** One cell for each version and hour that the groups speak of. */
export function cellsOf(started: readonly StartedGroup[], ended: readonly EndedGroup[]): UsageCell[] {
  const parts: UsageCell[] = [
    ...started.map(({ started, lastStartedAt, ...key }) => ({ ...key, counts: { ...noUsage, started, lastStartedAt } })),
    ...ended.map(({ completed, bucket, failedStep, count, ...key }) => ({ ...key, counts: endedCounts(completed, bucket, failedStep, count) })),
  ];
  return [...Map.groupBy(parts, cellKey).values()].map((same) => ({ ...(same[0] as UsageCell), counts: addUsage(...same.map(({ counts }) => counts)) }));
}

export function cellKey({ templateUuid, version, hourAt }: Pick<UsageCell, "templateUuid" | "version" | "hourAt">): string {
  return `${templateUuid} ${version} ${hourAt}`;
}

/** The cells' sum by template. */
export function totalsOf(cells: readonly UsageCell[]): Map<string, UsageCounts> {
  const byTemplate = Map.groupBy(cells, ({ templateUuid }) => templateUuid);
  return new Map([...byTemplate].map(([template, same]) => [template, addUsage(...same.map(({ counts }) => counts))]));
}

/** A total in which `from` is replaced by `to`: what a cell that was counted anew does to it. */
export function replaceUsage(total: UsageCounts, from: UsageCounts, to: UsageCounts): UsageCounts {
  return addUsage(total, to, negated(from));
}

function negated(counts: UsageCounts): UsageCounts {
  return {
    started: -counts.started,
    ended: -counts.ended,
    completed: -counts.completed,
    durations: negatedCounts(counts.durations),
    failedSteps: negatedCounts(counts.failedSteps),
    lastStartedAt: undefined,
  };
}

function negatedCounts(counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).map(([key, count]) => [key, -count]));
}

function endedCounts(completed: boolean, bucket: number | null, failedStep: string | null, count: number): UsageCounts {
  return {
    ...noUsage,
    ended: count,
    completed: completed ? count : 0,
    durations: completed && bucket !== null ? { [bucket]: count } : {},
    failedSteps: !completed && failedStep !== null ? { [failedStep]: count } : {},
  };
}

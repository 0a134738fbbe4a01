/**
 * How a template was used, as counts that can be added up: over hours, versions and replicas, in any order and grouping.
 *
 * Durations are counted in buckets that grow by 2 %, so a percentile read from them is at most 1 % away from the true one
 * (of durations of a millisecond and more); sums of such counts lose nothing.
 */

export type Counts = Readonly<Record<string, number>>;

export interface UsageCounts {
  /** Executions created. */
  readonly started: number;
  /** Executions that ended, and those of them that completed. */
  readonly ended: number;
  readonly completed: number;
  /** Bucket of the duration → completed executions. */
  readonly durations: Counts;
  /** Name of the step → executions that it made end otherwise. */
  readonly failedSteps: Counts;
  /** When the newest execution was created. */
  readonly lastStartedAt: number | undefined;
}

export const noUsage: UsageCounts = { started: 0, ended: 0, completed: 0, durations: {}, failedSteps: {}, lastStartedAt: undefined };

/** From one bucket's end to the next one's. SQL computes the same: see `bucketSql`. */
const growth = 1.02;

/** The bucket's middle, in the sense that its ends are equally far away in proportion. */
export function durationOfBucket(bucket: number): number {
  return bucket <= 0 ? 1 : growth ** (bucket - 0.5);
}

/** All durations up to a millisecond are bucket 0. */
export function bucketOfDuration(durationMs: number): number {
  return durationMs <= 1 ? 0 : Math.ceil(Math.log(durationMs) / Math.log(growth));
}

/** The same as an SQL expression over milliseconds as float8. */
export const bucketSql = (ms: string): string => `(case when ${ms} <= 1 then 0 else ceil(ln(${ms}) / ln(${growth}::float8)) end)::int`;

export function addUsage(...all: readonly UsageCounts[]): UsageCounts {
  const starts = all.flatMap(({ lastStartedAt }) => lastStartedAt ?? []);
  return {
    started: sum(all, "started"),
    ended: sum(all, "ended"),
    completed: sum(all, "completed"),
    durations: addCounts(all.map(({ durations }) => durations)),
    failedSteps: addCounts(all.map(({ failedSteps }) => failedSteps)),
    lastStartedAt: starts.length === 0 ? undefined : starts.reduce((latest, at) => Math.max(latest, at)),
  };
}

function sum(all: readonly UsageCounts[], field: "started" | "ended" | "completed"): number {
  return all.reduce((total, counts) => total + counts[field], 0);
}

/** Counts of the same keys, added up; what comes to nothing is left out. */
export function addCounts(all: readonly Counts[]): Counts {
  const total = new Map<string, number>();
  for (const counts of all) for (const [key, count] of Object.entries(counts)) total.set(key, (total.get(key) ?? 0) + count);
  return Object.fromEntries([...total].filter(([, count]) => count !== 0));
}

/** Completed of those that ended, 0 to 1; 0 when none ended. */
export function successRate({ ended, completed }: Pick<UsageCounts, "ended" | "completed">): number {
  return ended === 0 ? 0 : completed / ended;
}

/** The duration that the given part (0 to 1) of the completed executions did not exceed, in milliseconds; undefined when none completed. */
export function durationPercentile(durations: Counts, part: number): number | undefined {
  const buckets = Object.entries(durations).map(([bucket, count]) => [Number(bucket), count] as const);
  const total = buckets.reduce((all, [, count]) => all + count, 0);
  let left = Math.max(1, Math.ceil(total * part));
  for (const [bucket, count] of buckets.sort(([a], [b]) => a - b)) {
    left -= count;
    if (left <= 0) return durationOfBucket(bucket);
  }
  return undefined;
}

/** The step with the most failures, by name among equals; undefined when none failed. */
export function mostFailingStep(failedSteps: Counts): string | undefined {
  return Object.entries(failedSteps).sort(([a, counted], [b, other]) => other - counted || (a < b ? -1 : 1))[0]?.[0];
}

/** Usage counts between rows and the domain. */
import type { Counts, UsageCounts } from "../domain/templates/usage-counts.ts";

export type { UsageCounts } from "../domain/templates/usage-counts.ts";

/** Over all versions and all time. */
export interface TotalUsage extends UsageCounts {
  /** Made from the template; deleted ones are left out. */
  readonly workflows: number;
}

export interface UsageRow {
  readonly started: number;
  readonly ended: number;
  readonly completed: number;
  readonly durations: Counts;
  readonly failedSteps: Counts;
  readonly lastStartTime: Date | null;
}

/** Of a table or alias `u`. */
export const usageColumns = `u.started, u.ended, u.completed, u.durations, u.failed_steps as "failedSteps", u.last_start_time as "lastStartTime"`;

export function toUsage({ started, ended, completed, durations, failedSteps, lastStartTime }: UsageRow): UsageCounts {
  return { started, ended, completed, durations, failedSteps, lastStartedAt: lastStartTime?.getTime() };
}

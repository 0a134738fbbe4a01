/** What is known of an operation whose outcome is reported from outside (`reported.ts` has the rules). */

export type ReportedFrom = "queue" | "caller" | "child";

/** What an operation was dispatched with; part of its `…_started` event. */
export interface ReportTerms {
  readonly from: ReportedFrom;
  /** Time of one attempt (start_to_close), in milliseconds. */
  readonly closeMs: number;
  /** Longest silence, in milliseconds; absent: only the deadline counts. */
  readonly heartbeatMs?: number;
  /** The execution that carries it out. */
  readonly childId?: string;
}

/** An open attempt whose report is awaited. */
export interface ReportWait {
  readonly from: ReportedFrom;
  readonly attempt: number;
  readonly closeMs: number;
  /** End of the attempt; undefined while its timers stand with the task. */
  readonly deadlineAt: number | undefined;
  heartbeatMs: number | undefined;
  /** Silence until then ends the attempt; undefined when only the deadline counts. */
  silentAt: number | undefined;
  readonly childId: string | undefined;
}

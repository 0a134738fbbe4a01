/**
 * The journal: where things become durable. Everything an execution's turn produced (events and the rows that follow from them)
 * is appended together and acknowledged after commit, never before.
 *
 * Implementations: `batched-journal.ts` shares one commit among all executions of this replica; the plain one writes one
 * execution at a time and stays as the reference. Both pass the same contract suite.
 */
import type { JsonObject } from "../base/json.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { OutgoingCommand } from "../domain/outgoing-command.ts";
import type { ExecutionRow } from "../domain/projection.ts";
import type { NewTask } from "../domain/task.ts";
import type { WaitChanges } from "../domain/wait-rows.ts";

/** What only the first append of an execution carries. */
export interface StartRow {
  readonly workflowId: string | undefined;
  readonly workflowName: string;
  readonly revision: number;
  readonly executionKey: string | undefined;
  readonly requestId: string | undefined;
  /** SHA-256 of the request, to tell a repeat from a reuse of its id. */
  readonly requestHash: Buffer | undefined;
  readonly correlationId: string;
  readonly labels: JsonObject;
  readonly priority: number;
  readonly traceparent: string | undefined;
  readonly createdAt: number;
}

export interface AppendRequest {
  readonly tenantId: string;
  readonly executionId: string;
  /** Consecutive numbers; may be empty when only the row changes hands. */
  readonly events: readonly ExecutionEvent[];
  readonly start?: StartRow;
  /** Present when the execution's row changes; always present with `start`. */
  readonly row?: ExecutionRow;
  /** Registrations of waits that began or ended with these events. */
  readonly waits?: WaitChanges;
  /** Commands for other executions, durable with these events. */
  readonly outbox?: readonly OutgoingCommand[];
  /** Tasks of attempts that begin, and ids of those whose attempt is over. */
  readonly tasks?: { readonly opened: readonly NewTask[]; readonly closed: readonly string[] };
  /** The execution leaves this replica: parked until `row.wakeAt`, or ended. */
  readonly release: boolean;
}

export type AppendOutcome =
  | { readonly kind: "committed" }
  /** This replica's lease is over: nothing was written; forget everything that it drives. */
  | { readonly kind: "fenced" }
  /** Another writer has these numbers: nothing was written; load the execution again. */
  | { readonly kind: "conflict" }
  /** A start whose request id or execution key is taken: nothing was written; look the other one up. */
  | { readonly kind: "exists" }
  /** PostgreSQL refuses a value of this append; the others of its batch were written. */
  | { readonly kind: "refused"; readonly message: string; readonly sqlState: string };

export interface Journal {
  append(request: AppendRequest): Promise<AppendOutcome>;
  /** Rows that wait to be written; above a bound new starts are refused. */
  readonly backlogRows: number;
  /** Writes what was appended, then refuses. May be called twice. */
  stop(): Promise<void>;
}

/** The right to write: this replica and the epoch of its lease. */
export interface Fence {
  readonly replicaId: string;
  readonly epoch: number;
}

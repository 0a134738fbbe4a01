/** What a task waits for: a worker that takes it, or the one that has it. Read off the queues; the ledger does not know. */
import type { Blocker } from "./blocker.ts";

export interface TaskFact {
  readonly path: string;
  readonly operation: string;
  readonly attempt: number;
  readonly id: string;
  readonly queue: string;
  readonly taskType: string;
  readonly requiredLabels: Readonly<Record<string, string>>;
  /** Who has it. */
  readonly worker: string | undefined;
  /** When it is given up; undefined while it waits without a bound. */
  readonly expiresAt: number | undefined;
  readonly createdAt: number;
  /** Tasks before it in its queue. */
  readonly backlog: number;
  /** Workers that polled lately and may take it. */
  readonly workers: number;
}

export function taskBlockers(tasks: readonly TaskFact[]): Blocker[] {
  return tasks.map((task) => {
    const { path: stepPath, queue, taskType, backlog, workers, expiresAt: untilAt } = task;
    return { stepPath, message: messageOf(task), untilAt, cause: { kind: "worker", queue, taskType, backlog, workers } };
  });
}

function messageOf({ path, operation, attempt, id, queue, taskType, requiredLabels, worker, expiresAt, createdAt, backlog, workers }: TaskFact): string {
  const what = `${operation === "action" ? "" : `the ${operation === "compensate" ? "undo" : "confirmation"} of `}${path}`;
  const until = expiresAt === undefined ? "" : ` until ${timeText(expiresAt)}`;
  if (worker !== undefined) return `worker ${worker} has the task ${id} (attempt ${attempt} of ${what})${until}`;
  const since = `${what} waits in queue "${queue}" since ${timeText(createdAt)}${expiresAt === undefined ? "" : `, at most${until}`}`;
  if (workers > 0) return `${since} with ${backlog} before it; ${workers} workers can take it`;
  const labels = Object.keys(requiredLabels).length === 0 ? "" : ` with labels ${JSON.stringify(requiredLabels)}`;
  return `${since}; no worker of queue "${queue}" takes tasks of type "${taskType}"${labels}`;
}

function timeText(at: number): string {
  return new Date(at).toISOString();
}

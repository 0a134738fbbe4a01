/** Workers as a test drives them by hand: what they take, and what they say of it. */
import { fromJson, type JsonObject, type JsonValue, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { StepDecision } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { Outcome, type Task, TaskResultSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";
import type { TaskCompletionStatus } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import type { Clients } from "./connect-client.ts";
import { seconds } from "./fixture.ts";
import { refusalOfStatus } from "./refusal.ts";

export { Outcome, StepDecision };

export const workerStep = (name: string, queue: string, more: JsonObject = {}, input: JsonObject = { step: name }): JsonObject => ({
  name,
  worker_task: { task_type: "work", task_queue: queue, input },
  ...more,
});

/** Polls until `count` tasks were taken, at most a minute. */
export async function take(clients: Clients, queue: string, count = 1, worker = "w1", labels: Record<string, string> = {}): Promise<Task[]> {
  const tasks: Task[] = [];
  for (let round = 0; tasks.length < count && round < 30; round++) {
    const polled = await clients.tasks.pollTasks({
      worker: { workerId: worker, taskQueues: [queue], labels },
      maxTasks: count - tasks.length,
      wait: seconds(2),
    });
    tasks.push(...polled.tasks);
  }
  if (tasks.length < count) throw new Error(`only ${tasks.length} of ${count} tasks came`);
  return tasks;
}

export type ResultInit = MessageInitShape<typeof TaskResultSchema>;
export const success = (output: JsonValue = "done"): ResultInit => ({ outcome: Outcome.SUCCEEDED, output: fromJson(ValueSchema, output) });
export const failed = (error: string, outcome = Outcome.FAILED_NO_EFFECT): ResultInit => ({ outcome, error, message: error });

/** The decision, or the reason of the error. */
export function saidOf({ status }: TaskCompletionStatus): string {
  return status.case === "decision" ? (StepDecision[status.value] ?? "") : status.value ? refusalOfStatus(status.value).reason : "nothing";
}

export async function complete(clients: Clients, task: Pick<Task, "id" | "token">, result: ResultInit): Promise<string> {
  const { statuses } = await clients.tasks.completeTasks({ results: [{ taskId: task.id, token: task.token, result }] });
  if (!statuses[0]) throw new Error("no status");
  return saidOf(statuses[0]);
}

export function recorded(status: TaskCompletionStatus | undefined): unknown {
  return status?.recorded && toJson(TaskResultSchema, status.recorded, { useProtoFieldName: true });
}

export function jsonOf(value: Value | undefined): JsonValue | undefined {
  return value && toJson(ValueSchema, value);
}

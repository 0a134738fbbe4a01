/** Tasks on their way to a worker: each gets the token that proves the right to report it. */
import type { Task } from "#gen/pyairtable/workflow/v1/task_pb.js";
import type { TakenTask } from "../domain/task.ts";
import { sealToken } from "../domain/task-token.ts";
import type { RpcParts } from "./parts.ts";
import { taskToMessage } from "./wire/task.ts";

export function handOver(parts: Pick<RpcParts, "taskTokenKey">, tenantId: string, tasks: readonly TakenTask[]): Task[] {
  return tasks.map((task) => taskToMessage(task, sealToken(parts.taskTokenKey, tenantId, task)));
}

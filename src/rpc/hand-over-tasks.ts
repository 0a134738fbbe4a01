/** Tasks on their way to a worker: each gets the token that proves the right to report it. */
import type { Task } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import type { TakenTask } from "../domain/task.ts";
import { sealToken } from "../domain/task-token.ts";
import type { WorkerAsk } from "../engine/task-board.ts";
import type { RpcParts } from "./parts.ts";
import { taskToMessage } from "./wire/task.ts";

/** What a task has besides its payloads, tokens and keys included. */
const headBytes = 4_096;

/** Tasks that do not fit into one message go back into their queue, as if they had not been taken. One always goes. */
export async function handOver(parts: RpcParts, { tenantId, worker }: WorkerAsk, tasks: readonly TakenTask[]): Promise<Task[]> {
  const fitting = countWithinMessage(tasks);
  if (fitting < tasks.length) {
    await parts.tasks.giveBack(
      tenantId,
      tasks.slice(fitting).map(({ id }) => id),
      worker,
    );
  }
  return tasks.slice(0, fitting).map((task) => taskToMessage(task, sealToken(parts.taskTokenKey, tenantId, task)));
}

function countWithinMessage(tasks: readonly TakenTask[]): number {
  let bytes = 0;
  for (const [index, { input, actionOutput }] of tasks.entries()) {
    bytes += headBytes + jsonBytes(input) + (actionOutput === undefined ? 0 : jsonBytes(actionOutput));
    if (bytes > limits.pageBytesMax && index > 0) return index;
  }
  return tasks.length;
}

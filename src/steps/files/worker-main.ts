/** A thread of `file-workers.ts`: one task after the other. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { keepCompiled } from "../../base/compile-cache.ts";
import { doFileTask } from "./file-task.ts";
import { lowerOwnPriority } from "./lower-priority.ts";
import { TaskPort } from "./task-port.ts";
import type { FromThread, ThreadData, ToThread } from "./thread-messages.ts";

/** A tenth of the share of others while they are busy: they go first, and a large file still gets on. */
const niceness = 10;

if ((workerData as ThreadData).isLow) lowerOwnPriority(niceness);

function serve(port: MessagePort): void {
  let current: TaskPort | undefined;
  port.on("message", (message: ToThread) => {
    if (message.type !== "task") return current?.receive(message);
    const task = new TaskPort(port, message);
    current = task;
    void doFileTask(task).then((outcome) => {
      port.postMessage({ type: "done", outcome, cpuMs: cpuMsOfThread() } satisfies FromThread);
      // Each format loads its modules with its first task.
      keepCompiled();
    });
  });
}

/** Zero where Node.js cannot tell (before 23.9). */
function cpuMsOfThread(): number {
  const usage = typeof process.threadCpuUsage === "function" ? process.threadCpuUsage() : { user: 0, system: 0 };
  return (usage.user + usage.system) / 1_000;
}

if (parentPort) serve(parentPort);

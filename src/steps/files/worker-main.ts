/** A thread of `file-workers.ts`: one job after the other, each answered with one message. */
import { parentPort } from "node:worker_threads";
import type { FileJob } from "./file-job.ts";
import { doFileJob } from "./file-job-table.ts";

parentPort?.on("message", (job: FileJob) => {
  void doFileJob(job).then((outcome) => {
    if (!outcome.ok || outcome.value.kind !== "file") return parentPort?.postMessage(outcome);
    const bytes = Uint8Array.from(outcome.value.bytes);
    parentPort?.postMessage({ ...outcome, value: { ...outcome.value, bytes } }, [bytes.buffer]);
  });
});

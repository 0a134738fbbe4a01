/** The services of steps that tests of other things do not need: files in memory, no mail server, no bound on notifications. */
import { systemClock } from "../../src/base/clock.ts";
import { ok } from "../../src/base/result.ts";
import { doFileOrder } from "../../src/steps/files/do-file-order.ts";
import type { FileJobs } from "../../src/steps/files/file-order.ts";
import { FileWorkers } from "../../src/steps/files/file-workers.ts";
import { noMail } from "../../src/steps/notify/smtp-mailer.ts";
import type { StepFiles } from "../../src/steps/step-files.ts";
import type { StepServices } from "../../src/steps/step-handler.ts";
import { memoryFiles } from "./memory-files.ts";

/** One pool for a test file: its threads do not keep the process alive. */
const workers = new FileWorkers({ clock: systemClock });

export function offlineServices(files: StepFiles = memoryFiles()): Pick<StepServices, "files" | "fileJobs" | "mail" | "quota"> {
  const fileJobs = fileJobsOn(workers, files);
  return { files, fileJobs, mail: noMail, quota: { take: async () => ok(undefined), gone: async () => undefined } };
}

/** As the server's courier does them, without its thread. */
export function fileJobsOn(workers: FileWorkers, files: StepFiles): FileJobs {
  return { run: (order, signal) => doFileOrder(order, { files, workers }, signal) };
}

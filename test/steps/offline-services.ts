/** The services of steps that tests of other things do not need: files in memory, no mail server, no bound on notifications. */
import { systemClock } from "../../src/base/clock.ts";
import { ok } from "../../src/base/result.ts";
import { FileWorkers } from "../../src/steps/files/file-workers.ts";
import { noMail } from "../../src/steps/notify/smtp-mailer.ts";
import type { StepServices } from "../../src/steps/step-handler.ts";
import { memoryFiles } from "./memory-files.ts";

/** One pool for a test file: its threads do not keep the process alive. */
const fileJobs = new FileWorkers({ clock: systemClock });

export function offlineServices(): Pick<StepServices, "files" | "fileJobs" | "mail" | "quota"> {
  return { files: memoryFiles(), fileJobs, mail: noMail, quota: { take: async () => ok(undefined), gone: async () => undefined } };
}

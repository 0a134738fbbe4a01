/** The services of steps that tests of other things do not need: files in memory, no mail server, no bound on notifications. */
import { ok } from "../../src/base/result.ts";
import { noMail } from "../../src/steps/notify/smtp-mailer.ts";
import type { StepServices } from "../../src/steps/step-handler.ts";
import { memoryFiles } from "./memory-files.ts";

export function offlineServices(): Pick<StepServices, "files" | "mail" | "quota"> {
  return { files: memoryFiles(), mail: noMail, quota: { take: () => ok(undefined) } };
}

/**
 * `worker_task`: a worker of any language carries the step out. The engine puts a task into a queue, durably with the step's
 * intent; a worker takes it through TaskService and reports. Nothing happens here: this file only says what such a step may
 * hold.
 */
import { invariant } from "../base/errors.ts";
import type { StepHandler } from "./step-handler.ts";

export const workerTask: StepHandler = {
  type: "worker_task",
  nature: "effect",
  reportedFrom: "queue",
  fields: { input: { as: "template" } },
  startToCloseMs: 5 * 60_000,
  startToCloseMsMax: 86_400_000,

  check(config, report) {
    if (typeof config["task_type"] !== "string" || config["task_type"] === "") {
      report("task_type", "VALIDATION_FAILED", 'name what the worker has to do, for example "invoice.render"');
    }
  },

  run() {
    invariant(false, "a worker carries a worker_task out");
  },
};

/**
 * `sub_workflow`: another execution carries it out, and its end is the outcome. The engine starts the child, waits for it
 * without memory and, when the parent turns back, has it undo itself (`engine/children.ts`); nothing runs here.
 */
import { integerField, textField } from "./config-fields.ts";
import type { StepHandler } from "./step-handler.ts";

const yearMs = 366 * 86_400_000;

export const subWorkflow: StepHandler = {
  type: "sub_workflow",
  nature: "effect",
  reportedFrom: "child",
  fields: { input: { as: "template" } },
  // The child has a time of its own; what is set here is the longest that it may take.
  startToCloseMs: yearMs,
  startToCloseMsMax: yearMs,
  naturalKind: () => undefined,

  check(config, report) {
    if (textField(config, "workflow") === undefined) report("workflow", "VALIDATION_FAILED", "name the workflow, by id or name");
    if ((integerField(config, "revision") ?? 0) < 0) report("revision", "VALIDATION_FAILED", "is not a revision; 0 is the active one");
  },

  run() {
    throw new Error("a child is started by the engine");
  },
};

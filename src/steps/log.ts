/**
 * `log`: a line in the execution's own history, for the people who read it there. Pure: the line is the step's result,
 * nothing leaves the process. It is also the shortest complete step type; copy it to write another one.
 */
import { failed, objectField, textField, textOf } from "./config-fields.ts";
import type { StepHandler } from "./step-handler.ts";

const messageBytesMax = 8 * 1024;

export const log: StepHandler = {
  type: "log",
  nature: "pure",
  fields: { message: { as: "template" }, fields: { as: "template" } },
  startToCloseMs: 30_000,
  startToCloseMsMax: 86_400_000,

  run({ config }) {
    const level = textField(config, "level") ?? "LOG_LEVEL_INFO";
    const message = textOf(config["message"] ?? "");
    const bytes = Buffer.byteLength(message);
    if (bytes > messageBytesMax) return failed("LIMIT.MESSAGE", `the message has ${bytes} bytes, the limit is ${messageBytesMax}; put data into fields`);
    const fields = objectField(config, "fields");
    return { kind: "succeeded", result: { level: level.replace("LOG_LEVEL_", ""), message, ...(fields ? { fields } : {}) } };
  },
};

/** `fail`: ends the run, or jumps to a catch, with a failure the author names. Never retried. */

import { failure } from "../domain/failure.ts";
import { isSet, textOf } from "./config-fields.ts";
import type { StepHandler } from "./step-handler.ts";

const errorCharactersMax = 64;

export const fail: StepHandler = {
  type: "fail",
  nature: "pure",
  fields: { error: { as: "template" }, message: { as: "template" }, details: { as: "template" } },
  startToCloseMs: 30_000,
  startToCloseMsMax: 86_400_000,

  check(config, report) {
    if (!isSet(config, "error")) report("error", "VALIDATION_FAILED", "name the error; catches and filters see it as USER.<error>");
  },

  run({ config }) {
    const name = userErrorName(textOf(config["error"] ?? ""));
    const message = textOf(config["message"] ?? "") || `the step failed with ${name}`;
    return { kind: "failed", outcome: "failed", failure: failure(name, message, config["details"]) };
  },
};

/** A name made by a template may hold anything; patterns like `USER.*` and logs need a plain word. */
function userErrorName(error: string): string {
  const plain = error
    .trim()
    .replace(/[^A-Za-z0-9_.-]+/g, "_")
    .slice(0, errorCharactersMax);
  return `USER.${plain || "ERROR"}`;
}

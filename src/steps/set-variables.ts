/** `set_variables`: gives variables of the execution new values; the result is the object that is merged into them. */
import { limits } from "../base/limits.ts";
import { failed, objectField } from "./config-fields.ts";
import type { StepHandler } from "./step-handler.ts";

const variableName = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

export const setVariables: StepHandler = {
  type: "set_variables",
  nature: "pure",
  setsVariables: true,
  fields: { variables: { as: "template" } },
  startToCloseMs: 30_000,
  startToCloseMsMax: 86_400_000,

  check(config, report) {
    const names = Object.keys(objectField(config, "variables") ?? {});
    if (names.length === 0) report("variables", "VALIDATION_FAILED", "name at least one variable");
    if (names.length > limits.variablesPerExecutionMax) {
      report("variables", "LIMIT_EXCEEDED", `${names.length} variables; at most ${limits.variablesPerExecutionMax} are possible`);
    }
    for (const name of names) {
      if (!variableName.test(name)) report(`variables.${name}`, "VALIDATION_FAILED", "a variable's name is a letter, then letters, digits or _, at most 64");
    }
  },

  run({ config }) {
    const variables = objectField(config, "variables");
    return variables ? { kind: "succeeded", result: variables } : failed("SCHEMA", "variables is not an object");
  },
};

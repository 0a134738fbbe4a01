/** An operator changes variables of a running execution. */
import { type AppError, violationsError } from "../base/errors.ts";
import { findJsonFault, type JsonObject, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { type ControlRequest, operatorEvent, terminalError } from "./control.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";
import { isTerminal } from "./states.ts";

/** Merged over the present ones at top level; null removes. What is so already is left alone. */
export function updateVariables(state: ExecutionState, now: number, request: ControlRequest & { readonly variables: JsonObject }): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  const { variables } = request;
  const fault = findJsonFault(variables);
  if (fault) return violationsError([{ field: `variables.${fault.path}`, reason: "VALIDATION_FAILED", description: fault.problem }]);
  const misnamed = Object.keys(variables).filter((name) => variables[name] !== null && !/^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(name));
  if (misnamed.length > 0) {
    const description = "a variable's name is a letter, then letters, digits or _, at most 64";
    return violationsError(misnamed.slice(0, 20).map((name) => ({ field: `variables[${JSON.stringify(name)}]`, reason: "VALIDATION_FAILED", description })));
  }
  const merged = Object.entries({ ...state.variables, ...variables }).filter(([, value]) => value !== null);
  if (merged.length > limits.variablesPerExecutionMax) {
    return tooMuch(`an execution has at most ${limits.variablesPerExecutionMax} variables; remove some with null`);
  }
  if (jsonBytes(Object.fromEntries(merged)) > limits.resultBytesMax) {
    return tooMuch(`the variables of an execution are at most ${limits.resultBytesMax} bytes; remove some with null`);
  }
  return [
    operatorEvent(now, { ...request, action: "update_variables" }),
    { type: "variables_set", at: now, stepPath: "", attempt: 0, payload: { variables, actor: request.actor } },
  ];
}

function tooMuch(description: string): AppError {
  return violationsError([{ field: "variables", reason: "LIMIT_EXCEEDED", description }]);
}

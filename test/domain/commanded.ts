/** Runs that are given commands: shared by the tests of the control rules. */
import { AppError } from "../../src/base/errors.ts";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { type ControlCommand, previewCommand } from "../../src/domain/control-command.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import type { ExecutionState } from "../../src/domain/execution-state.ts";
import { compile, type Order, type Script, type Simulated, type Simulation, simulate, simulationStartAt } from "./simulate.ts";

export const by = { actor: "key_1", reason: "because" };
export const call = (name: string, more: JsonObject = {}, body: Json = null): JsonObject => ({ name, call: { body }, ...more });
export const value = (name: string, text: Json, more: JsonObject = {}): JsonObject => ({ name, value: { value: text }, ...more });
export const undoable = (name: string, more: JsonObject = {}): JsonObject => call(name, { compensation: { step: call(`undo_${name}`) }, ...more });
export const wait = (name: string, duration = "3600s"): JsonObject => ({ name, delay: { duration } });
export const once = { retry_policy: { maximum_attempts: 1 } };
export const pivot = { compensation: { kind: "COMPENSATION_KIND_PIVOT" } };
export const halt = { on_error: { action: "ON_ERROR_ACTION_HALT" } };

export const order = (command: ControlCommand, when: Order["when"] = () => true): Order => ({
  when,
  command: (state, revision, now) => previewCommand({ state, revision, now }, command),
});
/** Nothing of a step is known yet, it waits, and so on. */
export const stands = (path: string, status: string) => (state: ExecutionState) => state.steps.get(path)?.status === status;
export const isStuck = (state: ExecutionState): boolean => state.status === "stuck";

export function run(steps: JsonObject[], script: Script, orders: readonly Order[], more: Simulation = {}, definition: JsonObject = {}): Simulated {
  return simulate(compile({ ...definition, steps }), { script, orders, ...more });
}
/** Goes on from where another run ended. */
export function again(before: Simulated, revision: CompiledRevision, command: ControlCommand, script: Script = {}, more: Simulation = {}): Simulated {
  return simulate(revision, { script, orders: [order(command)], resumeFrom: before.ledger, ...more });
}
export const called = ({ calls }: Simulated): string[] => calls.map(({ operation, path }) => (operation === "action" ? path : `undo ${path}`));
export const types = ({ ledger }: Simulated): string[] => ledger.map(({ type, stepPath }) => (stepPath === "" ? type : `${type} ${stepPath}`));
export const refused = ({ refusals }: Simulated): (string | undefined)[] => refusals.map(({ reason }) => reason);
export const refusal = (state: ExecutionState, revision: CompiledRevision, command: ControlCommand): AppError => {
  const answer = previewCommand({ state, revision, now: simulationStartAt }, command);
  if (!(answer instanceof AppError)) throw new Error("it was not refused");
  return answer;
};

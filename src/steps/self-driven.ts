/** `self_driven`: a step of a saga that its caller carries out and reports. Not for definitions; only sagas have it. */
import { failure } from "../domain/failure.ts";
import { selfDrivenStep } from "../domain/saga-definition.ts";
import type { StepHandler } from "./step-handler.ts";

export const selfDriven: StepHandler = {
  ...selfDrivenStep,
  run: () => ({ kind: "failed", outcome: "failed", failure: failure("INTERNAL", "a self-driven step is never carried out here") }),
};

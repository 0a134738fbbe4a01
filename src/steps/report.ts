/** How a step type refuses a configuration at save: path inside it, reason, sentence. */
import type { StepTypeSpec } from "../domain/step-type.ts";

export type Report = Parameters<NonNullable<StepTypeSpec["check"]>>[1];

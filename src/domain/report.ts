/** Collects what is wrong with a request, each with its place, so that a caller sees all of it at once. */
import type { ErrorReason, FieldViolation } from "../base/errors.ts";
import { limits } from "../base/limits.ts";

/** More violations than this help nobody; the rest is dropped. */
const violationsMax = 50;

export const tooManySteps = `a definition holds at most ${limits.stepsPerDefinitionMax} steps`;

export class Report {
  readonly #violations: FieldViolation[] = [];
  readonly #warnings: FieldViolation[] = [];
  #expressions = 0;
  #steps = 0;

  violation(field: string, reason: ErrorReason, description: string): void {
    if (this.#violations.length < violationsMax) this.#violations.push({ field, reason, description });
  }

  warning(field: string, reason: ErrorReason, description: string): void {
    if (this.#warnings.length < violationsMax) this.#warnings.push({ field, reason, description });
  }

  /** Counts expressions before they are compiled; false when the definition has too many (reported once, at `field`). */
  takeExpressions(count: number, field: string): boolean {
    const before = this.#expressions;
    this.#expressions += count;
    if (this.#expressions <= limits.expressionsPerDefinitionMax) return true;
    if (before <= limits.expressionsPerDefinitionMax) {
      this.violation(field, "LIMIT_EXCEEDED", `a definition holds at most ${limits.expressionsPerDefinitionMax} expressions; move a part to a sub_workflow`);
    }
    return false;
  }

  /** Counts a step before it is parsed; false when the definition has too many (reported once, at `field`). */
  takeStep(field: string): boolean {
    this.#steps += 1;
    if (this.#steps === limits.stepsPerDefinitionMax + 1) this.violation(field, "LIMIT_EXCEEDED", tooManySteps);
    return !this.hasTooManySteps;
  }

  /** Nothing more is worth a look. */
  get hasTooManySteps(): boolean {
    return this.#steps > limits.stepsPerDefinitionMax;
  }

  get violations(): readonly FieldViolation[] {
    return this.#violations;
  }

  get warnings(): readonly FieldViolation[] {
    return this.#warnings;
  }
}

/** Collects what is wrong with a request, each with its place, so that a caller sees all of it at once. */
import type { ErrorReason, FieldViolation } from "../base/errors.ts";

/** More violations than this help nobody; the rest is dropped. */
const violationsMax = 50;

export class Report {
  readonly #violations: FieldViolation[] = [];
  readonly #warnings: FieldViolation[] = [];

  violation(field: string, reason: ErrorReason, description: string): void {
    if (this.#violations.length < violationsMax) this.#violations.push({ field, reason, description });
  }

  warning(field: string, reason: ErrorReason, description: string): void {
    if (this.#warnings.length < violationsMax) this.#warnings.push({ field, reason, description });
  }

  get violations(): readonly FieldViolation[] {
    return this.#violations;
  }

  get warnings(): readonly FieldViolation[] {
    return this.#warnings;
  }
}

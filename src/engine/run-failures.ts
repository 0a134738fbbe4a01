/** What a run says of attempts that it did not send or wait for, and of commands that it could not write. */
import { AppError } from "../base/errors.ts";
import { type Failure, failure } from "../domain/failure.ts";
import type { StepOutcome } from "../domain/step-outcome.ts";
import type { Attempt } from "./run-step.ts";

export function neverSent(attempt: Attempt): StepOutcome {
  return { kind: "failed", outcome: "failed", failure: failure("TIMEOUT.START_TO_CLOSE", `the time of step ${attempt.path} was over before it could be sent`) };
}

export function overTime(attempt: Attempt): Failure {
  return failure("TIMEOUT.START_TO_CLOSE", `step ${attempt.path} did not finish in its time`);
}

export function changedHands(): AppError {
  return new AppError("STORAGE_UNAVAILABLE", "the execution changed hands before the command was written; try again", { retryAfterMs: 500 });
}

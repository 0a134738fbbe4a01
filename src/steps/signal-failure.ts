import { type Failure, failure } from "../domain/failure.ts";

/** Why an attempt was stopped. The engine aborts with a `Failure` (`TIMEOUT.START_TO_CLOSE`, `CANCELED` …) as the reason. */
export function signalFailure(signal: AbortSignal): Failure {
  const reason: unknown = signal.reason;
  if (typeof reason === "object" && reason !== null && !(reason instanceof Error) && "name" in reason && "message" in reason) return reason as Failure;
  return failure("CANCELED", "the attempt was stopped");
}

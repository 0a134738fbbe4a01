import { type Failure, failure } from "../domain/failure.ts";

/** Why an attempt was stopped. The engine aborts with a `Failure` (`TIMEOUT.START_TO_CLOSE`, `CANCELED` …) as the reason. */
export function signalFailure(signal: AbortSignal): Failure {
  return isFailure(signal.reason) ? signal.reason : failure("CANCELED", "the attempt was stopped");
}

/** Aborts with this failure after that many milliseconds; keeps no process alive. A timeout signal of the platform would look like a cancel. */
export function failsAfter(durationMs: number, why: Failure): AbortSignal {
  const timer = new AbortController();
  setTimeout(() => timer.abort(why), durationMs).unref();
  return timer.signal;
}

/** What a stream of bytes threw, as a Failure. @throws whatever is none: a mistake of ours */
export function thrownFailure(thrown: unknown): Failure {
  if (isFailure(thrown)) return thrown;
  throw thrown;
}

function isFailure(thrown: unknown): thrown is Failure {
  return typeof thrown === "object" && thrown !== null && !(thrown instanceof Error) && "name" in thrown && "message" in thrown;
}

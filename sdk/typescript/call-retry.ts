/** Tries again what did not get through, for a while. */
import { setTimeout as sleep } from "node:timers/promises";
import { toApiError, type WorkflowApiError } from "./api-error.ts";

/** Tries of one call, the first included. */
const attemptsMax = 4;
const firstPauseMs = 100;

/** Whether the same call may get through later: the service or its connection is not there now. */
export function isPassing({ code }: WorkflowApiError): boolean {
  return code === "UNAVAILABLE";
}

/** Pause before try `attempt` + 1: doubles from 100 ms, at least what the service asked for; 20 % of it is chance, so that callers do not come back in step. */
export function pauseMsAfter(attempt: number, error: { readonly retryAfterMs?: number | undefined }, pauseMsMax = 1_000): number {
  const doubled = Math.min(firstPauseMs * 2 ** Math.min(attempt - 1, 16), pauseMsMax);
  return Math.max(error.retryAfterMs ?? 0, doubled) * (1 + 0.2 * Math.random());
}

export interface RetryBounds {
  /** All tries and pauses together; undefined = no bound. */
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Calls until there is an answer, a refusal that another try cannot change, four tries, or no time left for the next one; then
 * throws the last error. An error of the program itself comes out as it is, at once. `call` is told how much time is left. An aborted signal throws its reason.
 */
export async function withRetries<Answer>(call: (leftMs: number | undefined) => Promise<Answer>, { timeoutMs, signal }: RetryBounds): Promise<Answer> {
  const endsAt = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    try {
      return await call(endsAt === undefined ? undefined : Math.max(1, Math.ceil(endsAt - performance.now())));
    } catch (thrown) {
      signal.throwIfAborted();
      const error = toApiError(thrown);
      const pauseMs = pauseMsAfter(attempt, error);
      if (!isPassing(error) || attempt >= attemptsMax || (endsAt !== undefined && performance.now() + pauseMs >= endsAt)) throw error;
      await pause(pauseMs, signal);
    }
  }
}

/** Sleeps; an aborted signal throws its reason. */
export async function pause(pauseMs: number, signal: AbortSignal): Promise<void> {
  await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
  signal.throwIfAborted();
}

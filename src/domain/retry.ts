/**
 * Whether and when an attempt is repeated. Decided by the error's name and the policy alone; whether the attempt may
 * have had an effect decides only whether the step is undone later.
 */
import { limits } from "../base/limits.ts";
import type { RetryPolicy } from "./definition.ts";
import { type Failure, matchesErrorName } from "./failure.ts";

/** Retried unless a policy says otherwise (contract, States). */
const retriedByDefault = [
  "NETWORK",
  "TIMEOUT.START_TO_CLOSE",
  "TIMEOUT.HEARTBEAT",
  "HTTP.408",
  "HTTP.409",
  "HTTP.425",
  "HTTP.429",
  "HTTP.5xx",
  "HTTP.REJECTED",
  "GRPC.UNAVAILABLE",
  "GRPC.RESOURCE_EXHAUSTED",
  "GRPC.ABORTED",
  "GRPC.DEADLINE_EXCEEDED",
  "GRPC.INTERNAL",
  "GRPC.UNKNOWN",
  "SMTP.4xx",
  "WORKER.*",
];

export interface AttemptFailure {
  readonly failure: Failure;
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  /** Delay the other side asked for. */
  readonly retryAfterMs: number | undefined;
  readonly now: number;
  /** End of the budget of all attempts; undefined when there is none. */
  readonly budgetEndsAt: number | undefined;
  /** 0 ≤ random < 1, injected. */
  readonly random: number;
  /** Value of the policy's `retry_if`, when it has one. */
  readonly condition?: boolean | undefined;
  /** An undo counts every failure as retryable: it has to succeed or become visible as stuck. */
  readonly always?: boolean;
}

export type RetryDecision =
  | { readonly kind: "retry"; readonly at: number }
  | { readonly kind: "give_up"; readonly why: "not_retryable" | "attempts_spent" | "budget_spent" };

export function decideRetry(policy: RetryPolicy, attempt: AttemptFailure): RetryDecision {
  if (!isRetryable(policy, attempt.failure, attempt.always === true) || attempt.condition === false) return { kind: "give_up", why: "not_retryable" };
  if (policy.maximumAttempts > 0 && attempt.attempt >= policy.maximumAttempts) return { kind: "give_up", why: "attempts_spent" };
  const at = attempt.now + retryDelayMs(policy, attempt);
  if (attempt.budgetEndsAt !== undefined && at >= attempt.budgetEndsAt) return { kind: "give_up", why: "budget_spent" };
  return { kind: "retry", at };
}

function isRetryable(policy: RetryPolicy, failure: Failure, always: boolean): boolean {
  const meant = (pattern: string): boolean => matchesErrorName(pattern, failure.name);
  if (policy.nonRetryableErrors.some(meant)) return false;
  return always || policy.retryableErrors.some(meant) || retriedByDefault.some(meant);
}

/**
 * Exponential backoff with partial jitter: delay × (1 − jitter × random), where delay = initial × coefficient^(attempt − 1),
 * capped. A delay the server asked for is a lower bound, unless the policy ignores it.
 */
function retryDelayMs(policy: RetryPolicy, attempt: Pick<AttemptFailure, "attempt" | "retryAfterMs" | "random">): number {
  const uncapped = policy.initialIntervalMs * policy.backoffCoefficient ** Math.min(attempt.attempt - 1, 64);
  const own = Math.min(uncapped, policy.maximumIntervalMs) * (1 - policy.jitter * attempt.random);
  const asked = policy.ignoreServerDelay ? 0 : Math.min(attempt.retryAfterMs ?? 0, limits.serverDelayMsMax);
  return Math.max(Math.round(own), asked);
}

/**
 * A circuit breaker as a value: what is called next, and what an answer means for it. Pure; time and the one who keeps the value
 * come from outside.
 *
 * closed ─`failureThreshold` failures in a row→ open ─`openIntervalMs`→ half open: one probe
 * half open ─probe answered→ closed · ─probe failed→ open again · ─probe said nothing→ the next call is the probe
 */
import { type Failure, matchesErrorName } from "./failure.ts";
import type { StepOutcome } from "./step-outcome.ts";

export interface BreakerPolicy {
  /** Failures in a row that open it. */
  readonly failureThreshold: number;
  readonly openIntervalMs: number;
}

export const breakerDefaults: BreakerPolicy = { failureThreshold: 10, openIntervalMs: 30_000 };

export type Breaker =
  | { readonly state: "closed"; readonly failures: number }
  /** `until`: milliseconds since the epoch. */
  | { readonly state: "open"; readonly until: number }
  /** A probe is under way; undefined in between. */
  | { readonly state: "half_open"; readonly probing: boolean };

export const closedBreaker: Breaker = { state: "closed", failures: 0 };

export type Admission =
  | { readonly kind: "pass" }
  /** This call is the probe: everybody else waits for it. */
  | { readonly kind: "probe" }
  | { readonly kind: "await_probe" }
  | { readonly kind: "refuse"; readonly until: number };

export function admit(breaker: Breaker, now: number): { readonly admission: Admission; readonly breaker: Breaker } {
  switch (breaker.state) {
    case "closed":
      return { admission: { kind: "pass" }, breaker };
    case "open":
      if (now < breaker.until) return { admission: { kind: "refuse", until: breaker.until }, breaker };
      return { admission: { kind: "probe" }, breaker: { state: "half_open", probing: true } };
    case "half_open":
      if (breaker.probing) return { admission: { kind: "await_probe" }, breaker };
      return { admission: { kind: "probe" }, breaker: { state: "half_open", probing: true } };
    default:
      return breaker satisfies never;
  }
}

/** What one call says about the health of what it called. */
export type Verdict = "healthy" | "failing" | "nothing";

/** After a call. What was sent before the breaker opened says nothing about it afterwards; only its probe does. */
export function learn(breaker: Breaker, verdict: Verdict, isProbe: boolean, policy: BreakerPolicy, now: number): Breaker {
  const open: Breaker = { state: "open", until: now + policy.openIntervalMs };
  if (isProbe) {
    if (breaker.state !== "half_open") return breaker;
    return verdict === "healthy" ? closedBreaker : verdict === "failing" ? open : { state: "half_open", probing: false };
  }
  if (breaker.state !== "closed" || verdict === "nothing") return breaker;
  if (verdict === "healthy") return closedBreaker;
  const failures = breaker.failures + 1;
  return failures >= policy.failureThreshold ? open : { state: "closed", failures };
}

/** The other side is away, overloaded or broken. An answer that refuses this one request shows that it is well. */
const failingNames = [
  "NETWORK",
  "TIMEOUT.START_TO_CLOSE",
  "HTTP.429",
  "HTTP.5xx",
  "GRPC.UNAVAILABLE",
  "GRPC.DEADLINE_EXCEEDED",
  "GRPC.RESOURCE_EXHAUSTED",
  "GRPC.INTERNAL",
  "GRPC.UNKNOWN",
];

export function verdictOf(outcome: StepOutcome): Verdict {
  if (outcome.kind !== "failed") return "healthy";
  if (failingNames.some((pattern) => matchesErrorName(pattern, outcome.failure.name))) return "failing";
  if (outcome.failure.name.startsWith("HTTP.")) return "healthy";
  // A status from the other side has details; what we found out ourselves (no such method) was not asked there.
  return outcome.failure.name.startsWith("GRPC.") && outcome.failure.details !== undefined ? "healthy" : "nothing";
}

export function breakerOpen(key: string, until: number): Failure {
  const message = `the circuit breaker of ${key} is open until ${new Date(until).toISOString()}: calls failed in a row, so none is sent before`;
  return { name: "BREAKER_OPEN", message, details: { key } };
}

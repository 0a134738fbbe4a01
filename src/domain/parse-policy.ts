/** Retry policies and timeouts of a definition, with their defaults filled in. */
import { parseDurationMs } from "../base/duration.ts";
import { isJsonObject, type Json } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { compileConditionField } from "./compile-field.ts";
import type { RetryPolicy, Timeouts } from "./definition.ts";
import type { Report } from "./report.ts";

/** Milliseconds of a duration field, undefined when it is absent. Its form was checked by the contract's rules. */
export function durationOf(value: Json | undefined): number | undefined {
  return typeof value === "string" ? parseDurationMs(value) : undefined;
}

export function parseRetryPolicy(value: Json | undefined, base: RetryPolicy, path: string, report: Report): RetryPolicy {
  if (!isJsonObject(value)) return base;
  const initialIntervalMs = durationOf(value["initial_interval"]) ?? base.initialIntervalMs;
  if (initialIntervalMs < limits.retryIntervalMsMin) {
    report.violation(`${path}.initial_interval`, "LIMIT_EXCEEDED", `must be at least ${limits.retryIntervalMsMin} ms`);
  }
  const coefficient = value["backoff_coefficient"];
  return {
    initialIntervalMs,
    backoffCoefficient: typeof coefficient === "number" && coefficient > 0 ? coefficient : base.backoffCoefficient,
    maximumIntervalMs: Math.max(durationOf(value["maximum_interval"]) ?? base.maximumIntervalMs, initialIntervalMs),
    maximumAttempts: numberOr(value["maximum_attempts"], base.maximumAttempts),
    jitter: numberOr(value["jitter"], base.jitter),
    nonRetryableErrors: stringsOr(value["non_retryable_errors"], base.nonRetryableErrors),
    retryableErrors: stringsOr(value["retryable_errors"], base.retryableErrors),
    retryIf: compileConditionField(value["retry_if"], `${path}.retry_if`, report) ?? base.retryIf,
    ignoreServerDelay: value["ignore_server_delay"] === true || base.ignoreServerDelay,
  };
}

export function parseTimeouts(value: Json | undefined, base: Timeouts, startToCloseMsMax: number, path: string, report: Report): Timeouts {
  if (!isJsonObject(value)) return base;
  const startToCloseMs = durationOf(value["start_to_close"]) ?? base.startToCloseMs;
  if (startToCloseMs <= 0 || startToCloseMs > startToCloseMsMax) {
    report.violation(`${path}.start_to_close`, "LIMIT_EXCEEDED", `must be above 0 and at most ${startToCloseMsMax / 1000} s for this step type`);
  }
  return {
    scheduleToStartMs: positiveOr(value["schedule_to_start"], base.scheduleToStartMs),
    heartbeatMs: positiveOr(value["heartbeat"], base.heartbeatMs),
    startToCloseMs,
    scheduleToCloseMs: durationOf(value["schedule_to_close"]) ?? base.scheduleToCloseMs,
  };
}

/** Zero switches a bound off. */
function positiveOr(value: Json | undefined, otherwise: number | undefined): number | undefined {
  const durationMs = durationOf(value);
  return durationMs === undefined ? otherwise : durationMs > 0 ? durationMs : undefined;
}

function numberOr(value: Json | undefined, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}

export function stringsOr(value: Json | undefined, otherwise: readonly string[]): readonly string[] {
  return Array.isArray(value) && value.length > 0 ? value.filter((item) => typeof item === "string") : otherwise;
}

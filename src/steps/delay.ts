/**
 * `delay`: the execution waits, without memory or a connection, until a moment. The handler only says which moment; the
 * engine stores it and completes the step when it has come.
 */
import { parseDurationMs } from "../base/duration.ts";
import type { Json } from "../base/json.ts";
import { durationField, failed, failedWith, isSet, textField } from "./config-fields.ts";
import type { StepCall, StepHandler, StepOutcome } from "./step-handler.ts";

/** 365 days. PostgreSQL and people both lose track of later moments. */
const delayMsMax = 365 * 86_400_000;

export const delay: StepHandler = {
  type: "delay",
  nature: "wait",
  fields: {
    duration_expression: { as: "expression", kinds: ["duration", "int", "uint", "double", "string"] },
    until: { as: "expression", kinds: ["timestamp", "string"] },
  },
  startToCloseMs: 30_000,
  startToCloseMsMax: 86_400_000,

  check(config, report) {
    const named = ["duration", "duration_expression", "until"].filter((name) => isSet(config, name));
    if (named.length !== 1) report("duration", "VALIDATION_FAILED", "give exactly one of duration, duration_expression and until");
    const durationMs = durationField(config, "duration");
    if (isSet(config, "duration") && (durationMs === undefined || durationMs < 0)) report("duration", "VALIDATION_FAILED", 'is not a duration from "0s" on');
    if (durationMs !== undefined && durationMs > delayMsMax) report("duration", "LIMIT_EXCEEDED", "is longer than 365 days");
  },

  run(call) {
    if (textField(call.config, "until")) return waitUntil(call);
    if (!textField(call.config, "duration_expression")) return waitFor(call, call.config["duration"] ?? null);
    const evaluated = call.evaluate("duration_expression", {});
    return evaluated.ok ? waitFor(call, evaluated.value) : failedWith(evaluated.fault);
  },
};

/** Durations are proto JSON text (`"90s"`); an expression may also give a plain number of seconds. */
function waitFor(call: StepCall, duration: Json): StepOutcome {
  const durationMs = typeof duration === "string" ? parseDurationMs(duration) : typeof duration === "number" ? duration * 1000 : Number.NaN;
  if (durationMs === undefined || !(durationMs >= 0))
    return failed("EXPRESSION", `${JSON.stringify(duration)} is not a duration; write duration("90s") or a number of seconds`);
  return wakeAt(call, call.now() + durationMs);
}

function waitUntil(call: StepCall): StepOutcome {
  const evaluated = call.evaluate("until", {});
  if (!evaluated.ok) return failedWith(evaluated.fault);
  const at = typeof evaluated.value === "string" ? parseTimestamp(evaluated.value) : undefined;
  if (at === undefined) return failed("EXPRESSION", `${JSON.stringify(evaluated.value)} is not a timestamp; write it as 2030-01-31T09:00:00Z`);
  return wakeAt(call, Math.max(at, call.now()));
}

function wakeAt(call: StepCall, at: number): StepOutcome {
  if (at - call.now() > delayMsMax) return failed("LIMIT.DURATION", "a delay may last 365 days at most");
  return { kind: "waiting", wakeAt: Math.ceil(at) };
}

/** RFC 3339 with its zone; text without a zone would mean another moment on another machine. */
function parseTimestamp(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/.test(text)) return undefined;
  const at = Date.parse(text.replace(" ", "T").toUpperCase());
  return Number.isNaN(at) ? undefined : at;
}

/** How a step is undone, and the saga rules that can be checked before any run. */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { type Compensation, type Step, undoBudgetMs, undoRetryDefaults } from "./definition.ts";
import { parseRetryPolicy, parseTimeouts } from "./parse-policy.ts";
import type { Report } from "./report.ts";

/** Attempt time of an undo whose step type says nothing longer. */
const undoStartToCloseMs = 30_000;
const undoStartToCloseMsMax = 900_000;
/** An undo that others carry out may take as long as their action. */
const reportedStartToCloseMsMax = 86_400_000;

export interface CompensationContext {
  readonly report: Report;
  /** The step that is declared is itself an undo. */
  readonly isUndo: boolean;
  /** Parses the undo, which bears the name of the step it undoes. */
  readonly parseUndo: (source: JsonObject, path: string) => Step | undefined;
}

export function parseCompensation(value: Json | undefined, path: string, context: CompensationContext): Compensation | undefined {
  if (!isJsonObject(value)) return undefined;
  const { report, isUndo } = context;
  if (isUndo) {
    report.violation(path, "COMPENSATION_INVALID", "an undo has no undo of its own; remove this compensation");
    return undefined;
  }
  const source = value["step"];
  const step = isJsonObject(source) ? context.parseUndo(source, `${path}.step`) : undefined;
  if (step?.nature === "block" || step?.nature === "wait") {
    report.violation(`${path}.step`, "COMPENSATION_INVALID", `an undo is one leaf step; ${step.type} cannot be one`);
  }
  const kind = value["kind"];
  if (step && (kind === "COMPENSATION_KIND_PIVOT" || kind === "COMPENSATION_KIND_READONLY" || kind === "COMPENSATION_KIND_RETRIABLE")) {
    report.violation(`${path}.kind`, "COMPENSATION_INVALID", "only a COMPENSATABLE step has an undo; remove compensation.step or the kind");
  }
  if (!step && kind === "COMPENSATION_KIND_COMPENSATABLE") {
    report.violation(`${path}.step`, "COMPENSATION_INVALID", "a COMPENSATABLE step names how it is undone; set compensation.step");
  }
  const timeouts = {
    scheduleToStartMs: step?.timeouts.scheduleToStartMs,
    heartbeatMs: step?.timeouts.heartbeatMs,
    startToCloseMs: step?.timeouts.startToCloseMs ?? undoStartToCloseMs,
    scheduleToCloseMs: undoBudgetMs,
  };
  const name = isJsonObject(source) && typeof source["name"] === "string" ? source["name"] : "";
  return {
    step,
    stepName: name === "" ? (step?.type ?? "") : name,
    retry: parseRetryPolicy(value["retry_policy"], undoRetryDefaults, `${path}.retry_policy`, report),
    timeouts: parseTimeouts(
      value["timeouts"],
      timeouts,
      step?.reportedFrom === undefined ? undoStartToCloseMsMax : reportedStartToCloseMsMax,
      `${path}.timeouts`,
      report,
    ),
    compensateOnFailure: value["compensate_on_failure"] === true,
    undoRequiresOutput: value["undo_requires_output"] === true,
    barrier: value["barrier"] === true,
  };
}

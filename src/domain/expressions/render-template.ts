/** The JSON value that a template describes. */
import type { Json } from "../../base/json.ts";
import { ok, type Result } from "../../base/result.ts";
import type { Failure } from "../failure.ts";
import { runEvaluation } from "./evaluation.ts";
import type { EvaluationContext, Scope, Template } from "./expression.ts";

/**
 * Fills in `template`. Each expression has its own 10,000 operations and 256 KiB; all of them share 50 ms and 5 MiB, a
 * text of several parts may have 1 MiB. Constant parts are returned as they are, so treat the value as read-only. Fails
 * with `EXPRESSION` or `LIMIT.EXPRESSION`.
 */
export function renderTemplate(template: Template, scope: Scope, context: EvaluationContext): Result<Json, Failure> {
  if (template.kind === "constant") return ok(template.value);
  return runEvaluation(scope, context, (evaluation) => evaluation.render(template));
}

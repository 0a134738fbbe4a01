/** The value of one expression. */
import type { Json } from "../../base/json.ts";
import type { Result } from "../../base/result.ts";
import type { Failure } from "../failure.ts";
import { runEvaluation } from "./evaluation.ts";
import type { EvaluationContext, Expression, Scope } from "./expression.ts";

/**
 * The value of `expression`, at most 256 KiB. Parts of it may be parts of `scope` itself (nothing is copied that need
 * not be), so treat it as read-only. Fails with `EXPRESSION` or `LIMIT.EXPRESSION`; throws for no expression or data.
 */
export function evaluateExpression(expression: Expression, scope: Scope, context: EvaluationContext): Result<Json, Failure> {
  return runEvaluation(scope, context, (evaluation) => evaluation.evaluate(expression));
}

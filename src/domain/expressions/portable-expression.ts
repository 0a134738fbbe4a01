/** An expression on its way to another thread: its source and the variables that it reads, all of it data. */
import { isJsonObject, type Json } from "../../base/json.ts";
import { fail, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../failure.ts";
import { compileExpression } from "./compile-expression.ts";
import { evaluateExpression } from "./evaluate-expression.ts";
import type { EvaluationContext, Expression, Scope } from "./expression.ts";
import { references } from "./references.ts";

export interface PortableExpression {
  readonly text: string;
  readonly scope: Scope;
  readonly context: Pick<EvaluationContext, "executionId" | "stepPath">;
}

/** Of variables that are objects only the members go along that are read: `steps.a.result` does not need every step. */
export function portableExpression(expression: Expression, scope: Scope, { executionId, stepPath }: EvaluationContext): PortableExpression {
  const read: Record<string, Json> = {};
  for (const { root, path } of references(expression)) {
    const value = Object.hasOwn(scope, root) ? scope[root] : undefined;
    const key = path[0];
    if (value === undefined) continue;
    if (typeof key !== "string" || !isJsonObject(value)) read[root] = value;
    else if (read[root] !== value) {
      const members = Object.hasOwn(value, key) ? { [key]: value[key] as Json } : {};
      const known = read[root];
      read[root] = { ...(isJsonObject(known) ? known : {}), ...members };
    }
  }
  return { text: expression.text, scope: read, context: { executionId, stepPath } };
}

/** Its value, as `evaluateExpression` gives it, with extra variables beside those that came along. */
export function evaluatePortable(portable: PortableExpression, extra: Scope, monotonic: () => number): Result<Json, Failure> {
  const compiled = compileExpression(portable.text);
  if (!compiled.ok) return fail(failure("EXPRESSION", compiled.fault.problem));
  return evaluateExpression(compiled.value, { ...portable.scope, ...extra }, { ...portable.context, monotonic });
}

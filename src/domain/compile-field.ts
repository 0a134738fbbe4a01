/** Compiles a field that holds an expression or a template, reporting what is wrong with the path of the request. */
import type { Json } from "../base/json.ts";
import { compileExpression } from "./expressions/compile-expression.ts";
import { compileTemplate } from "./expressions/compile-template.ts";
import type { Expression, ExpressionFault, Position, Template } from "./expressions/expression.ts";
import { inferKind } from "./expressions/infer-kind.ts";
import type { Report } from "./report.ts";

/** A field that is one expression; undefined when it is absent or wrong (then it is reported). */
export function compileExpressionField(value: Json | undefined, path: string, report: Report): Expression | undefined {
  if (typeof value !== "string" || value === "" || !report.takeExpressions(1, path)) return undefined;
  const compiled = compileExpression(value);
  if (compiled.ok) return compiled.value;
  report.violation(path, compiled.fault.reason, sentenceOf(compiled.fault));
  return undefined;
}

/** As above, for a condition: refused when it surely is something else than true or false. */
export function compileConditionField(value: Json | undefined, path: string, report: Report): Expression | undefined {
  const expression = compileExpressionField(value, path, report);
  const kind = expression && inferKind(expression);
  if (kind === undefined || kind === "bool") return expression;
  report.violation(path, "EXPRESSION_TYPE", `must be true or false, but is always of type ${kind}`);
  return undefined;
}

/** A value whose strings may hold `{{ }}`; undefined when it is wrong (then it is reported). */
export function compileTemplateField(value: Json, path: string, report: Report): Template | undefined {
  const braces = JSON.stringify(value).split("{{").length - 1;
  if (braces > 0 && !report.takeExpressions(braces, path)) return undefined;
  const compiled = compileTemplate(value);
  if (compiled.ok) return compiled.value;
  for (const fault of compiled.fault) report.violation(joinPath(path, fault.path), fault.reason, sentenceOf(fault));
  return undefined;
}

/** The problem with its place in the text. */
function sentenceOf({ problem, position }: ExpressionFault): string {
  return withPlace(problem, position);
}

export function withPlace(problem: string, { line, column }: Position): string {
  return `${problem} (${line > 1 ? `line ${line}, ` : ""}column ${column})`;
}

/** `a` and `b` → `a.b`, `a` and `[2]` → `a[2]`. */
export function joinPath(base: string, rest: string): string {
  if (rest === "") return base;
  return rest.startsWith("[") ? base + rest : `${base}.${rest}`;
}

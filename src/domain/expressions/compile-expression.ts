/** One expression, checked and made ready to run. */
import { fail, ok, type Result } from "../../base/result.ts";
import { compileNode, typeNameOf } from "./compile-node.ts";
import type { Expression, ExpressionFault } from "./expression.ts";
import { findBraces } from "./find-braces.ts";
import type { Findings } from "./locals.ts";
import { parseExpression } from "./parse-expression.ts";
import { type Positions, positionsIn } from "./positions.ts";
import type { Node } from "./syntax.ts";
import { SyntaxProblem } from "./syntax-problem.ts";
import { typeNames } from "./value.ts";

/** Compiled sources that are kept. A definition has at most a few thousand; each takes about 2 KB. */
const expressionsMax = 4_096;
const expressions = new Map<string, Expression>();

/**
 * Compiles `source`, bare (`steps.a.result.x > 1`) or wrapped in exactly one `{{ … }}`. Finds syntax errors, unknown
 * functions, wrong numbers of arguments and literals that cannot work (patterns, durations, timestamps). Which
 * variables exist is for the caller to check, with `references`. Kept in memory by source.
 */
export function compileExpression(source: string): Result<Expression, ExpressionFault> {
  const positions = positionsIn(source);
  try {
    return ok(unwrapAndCompile(source, positions));
  } catch (error) {
    if (error instanceof SyntaxProblem) return fail(toFault(error, positions));
    throw error;
  }
}

/** The expression that stands at `at` in a larger text; throws SyntaxProblem with the offset in that text. */
export function compileAt(source: string, at: number, positions: Positions): Expression {
  const text = source.trim();
  const textAt = at + source.indexOf(text);
  if (text === "") throw new SyntaxProblem("the expression is empty", at);
  const known = expressions.get(text);
  if (known) {
    expressions.delete(text);
    expressions.set(text, known);
    return { ...known, position: positions(textAt) };
  }
  try {
    const syntax = parseExpression(text);
    const findings: Findings = { usesContext: false };
    const evaluate = compileNode(syntax, undefined, findings);
    const keys = plainKeys(syntax);
    const expression: Expression = { kind: "expression", text, position: positions(textAt), syntax, keys, evaluate, ...findings };
    if (expressions.size >= expressionsMax) expressions.delete(expressions.keys().next().value as string);
    expressions.set(text, expression);
    return expression;
  } catch (error) {
    if (error instanceof SyntaxProblem) throw new SyntaxProblem(error.message, error.at + textAt, error.reason);
    throw error;
  }
}

export function toFault(problem: SyntaxProblem, positions: Positions): ExpressionFault {
  return { reason: problem.reason, problem: problem.message, position: positions(problem.at) };
}

function unwrapAndCompile(source: string, positions: Positions): Expression {
  if (!source.trimStart().startsWith("{{")) return compileAt(source, 0, positions);
  const [piece, ...more] = findBraces(source).filter((found) => found.kind === "source" || found.text.trim() !== "");
  if (piece?.kind !== "source" || more.length > 0) {
    throw new SyntaxProblem("one expression is expected here: bare, or in exactly one {{ … }} with nothing around it", 0);
  }
  return compileAt(piece.source, piece.at, positions);
}

/** Name and keys when the tree is nothing but a path such as `steps.a.result.items[0]`. */
function plainKeys(tree: Node): readonly (string | number)[] | undefined {
  if (typeNameOf(tree) !== undefined) return undefined;
  const keys: (string | number)[] = [];
  let node = tree;
  while (node.kind === "select" || node.kind === "index") {
    const key = node.kind === "select" ? node.field : plainIndex(node.index);
    if (key === undefined || node.optional) return undefined;
    keys.push(key);
    node = node.operand;
  }
  if (node.kind !== "name" || typeNames.has(node.name)) return undefined;
  return [...keys, node.name].reverse();
}

function plainIndex(node: Node): string | number | undefined {
  if (node.kind !== "literal") return undefined;
  if (typeof node.value === "string") return node.value;
  return typeof node.value === "bigint" && node.value >= 0n && node.value < 1n << 32n ? Number(node.value) : undefined;
}

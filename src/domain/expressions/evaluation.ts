/**
 * Running what was compiled. The one place where problems become failures: `EXPRESSION` when the expression does not
 * fit the data, `LIMIT.EXPRESSION` when it costs or makes too much. Neither is worth a retry with the same data.
 */
import type { Json, JsonObject } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../failure.ts";
import { Budget } from "./budget.ts";
import { noSuchVariable } from "./compile-node.ts";
import type { EvaluationContext, Expression, Scope, Template } from "./expression.ts";
import { LimitProblem, Problem } from "./problem.ts";
import { joinPath, needKey } from "./read-key.ts";
import { toJson } from "./to-json.ts";
import type { Value } from "./value.ts";

/** Characters of an expression that a message shows. */
const shownCharactersMax = 200;

/** Does `work` with a fresh evaluation and turns what goes wrong into a Failure. */
export function runEvaluation(scope: Scope, context: EvaluationContext, work: (evaluation: Evaluation) => Json): Result<Json, Failure> {
  const evaluation = new Evaluation(scope, context);
  try {
    return ok(work(evaluation));
  } catch (error) {
    if (error instanceof Problem || error instanceof LimitProblem) return fail(toFailure(error, evaluation.current));
    throw error;
  }
}

/** Text as `{{ }}` inside other text shows it: strings as they are, null as nothing, others as JSON. */
export function textOf(value: Json): string {
  if (typeof value === "string") return value;
  return value === null ? "" : JSON.stringify(value);
}

/** One evaluation or rendering: its budget, and the expression that a failure is about. */
class Evaluation {
  current: Expression | undefined;
  readonly #scope: Scope;
  readonly #context: EvaluationContext;
  readonly #budget: Budget;
  #bytesLeft: number = limits.resultBytesMax;

  constructor(scope: Scope, context: EvaluationContext) {
    this.#scope = scope;
    this.#context = context;
    this.#budget = new Budget(context.monotonic);
  }

  evaluate(expression: Expression): Json {
    this.current = expression;
    const value = expression.keys ? readPath(expression.keys, this.#scope) : this.#compute(expression);
    const { json, bytes } = toJson(value, limits.expressionResultBytesMax);
    // Many expressions may each name the same large value: together they may not exceed what a step may hold.
    this.#bytesLeft -= bytes;
    if (this.#bytesLeft < 0) throw new LimitProblem(`makes the whole value larger than ${limits.resultBytesMax} bytes`);
    return json;
  }

  render(template: Template): Json {
    switch (template.kind) {
      case "constant":
        return template.value;
      case "expression":
        return this.evaluate(template);
      case "text":
        return this.#join(template.parts, template.escape === "html" ? escapeHtml : undefined);
      case "list":
        return template.items.map((item) => this.render(item));
      case "object":
        return Object.fromEntries(template.entries.map(([key, entry]) => [key, this.render(entry)]));
    }
  }

  #compute(expression: Expression): Value {
    this.#budget.renewOperations();
    return expression.evaluate({ scope: this.#scope, locals: [], budget: this.#budget, context: this.#context });
  }

  #join(parts: readonly (string | Expression)[], show: (text: string) => string = asItIs): string {
    let bytes = 0;
    let text = "";
    for (const part of parts) {
      const shown = typeof part === "string" ? part : show(textOf(this.evaluate(part)));
      bytes += Buffer.byteLength(shown);
      if (bytes > limits.templateTextBytesMax) throw new LimitProblem(`makes a text of more than ${limits.templateTextBytesMax} bytes`);
      text += shown;
    }
    return text;
  }
}

const asItIs = (text: string): string => text;
const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] as string);
}

/** A plain path needs no evaluation; the same reading as `compile-node.ts` does, and the same messages. */
function readPath(keys: readonly (string | number)[], scope: Scope): Value {
  const root = keys[0] as string;
  const start = Object.hasOwn(scope, root) ? scope[root] : undefined;
  if (start === undefined) throw noSuchVariable(root);
  let value: Value = start;
  for (let index = 1; index < keys.length; index++) {
    value = needKey(value, keys[index] as string | number, () => pathTo(keys, index));
  }
  return value;
}

function pathTo(keys: readonly (string | number)[], end: number): string {
  return keys.slice(1, end).reduce<string>(joinPath, keys[0] as string);
}

function toFailure(problem: Problem | LimitProblem, expression: Expression | undefined): Failure {
  const text = expression?.text ?? "";
  const shown = text.length > shownCharactersMax ? `${text.slice(0, shownCharactersMax - 1).toWellFormed()}…` : text;
  const details: JsonObject = { expression: shown };
  if (problem instanceof LimitProblem) return failure("LIMIT.EXPRESSION", `{{ ${shown} }} ${problem.message}`, details);
  if (problem.path !== undefined) details["path"] = problem.path;
  return failure("EXPRESSION", `{{ ${shown} }}: ${problem.message}`, details);
}

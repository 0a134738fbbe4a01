/**
 * What the rest of the service sees of an expression: compiled forms, faults found at save, and what an evaluation
 * needs. The language is CEL (see `parse-expression.ts`), written bare or inside `{{ }}`.
 */
import type { Json } from "../../base/json.ts";
import type { Budget } from "./budget.ts";
import type { Node } from "./syntax.ts";
import type { Value } from "./value.ts";

/** A place in a source text. `offset` counts UTF-16 units from 0; `line` and `column` count from 1. */
export interface Position {
  readonly offset: number;
  readonly line: number;
  readonly column: number;
}

/** Why a text is not an expression. The reason is one of the contract's, so that a checker can hand it on as it is. */
export interface ExpressionFault {
  readonly reason: "EXPRESSION_INVALID" | "LIMIT_EXCEEDED";
  readonly problem: string;
  readonly position: Position;
}

/** A fault inside a JSON value; `path` names the string (`headers.x[0]`, empty for the value itself). */
export interface TemplateFault extends ExpressionFault {
  readonly path: string;
}

/** One compiled expression. Holds no data, may be shared by any number of evaluations. */
export interface Expression {
  readonly kind: "expression";
  /** The text without its braces, trimmed. */
  readonly text: string;
  /** Where `text` begins in what its author wrote. */
  readonly position: Position;
  readonly syntax: Node;
  /** Set when the expression is a plain dotted path: name and keys, read without evaluating anything. */
  readonly keys: readonly (string | number)[] | undefined;
  readonly evaluate: Evaluate;
  /** Whether the value depends on the execution and the step beyond the scope (`uuid`). */
  readonly usesContext: boolean;
}

/** A compiled JSON value. Constant parts are the author's own values and cost nothing at run time. */
export type Template =
  | { readonly kind: "constant"; readonly value: Json }
  | Expression
  /** `escape`: values, but not the author's own text, are written so that HTML shows them as they are. */
  | { readonly kind: "text"; readonly parts: readonly (string | Expression)[]; readonly escape?: "html" }
  | { readonly kind: "list"; readonly items: readonly Template[] }
  | { readonly kind: "object"; readonly entries: readonly (readonly [string, Template])[] };

/** Variables by name. Values are JSON and are read in place, never copied or changed; only own keys are seen. */
export type Scope = Readonly<Record<string, Json>>;

export interface EvaluationContext {
  /** Both feed `uuid(name)`, so that it is equal on every attempt. */
  readonly executionId: string;
  readonly stepPath: string;
  /** Milliseconds that never jump. Without it only operations are limited. */
  readonly monotonic?: () => number;
}

/** A variable that an expression reads, with the keys that are known without evaluating it. */
export interface Reference {
  readonly root: string;
  /** `steps.a.result.items[0].x` → `["a", "result", "items", 0, "x"]`; ends before the first computed key. */
  readonly path: readonly (string | number)[];
  /** Index in `path` from which keys may be absent (`has(…)`, `.?`); equal to `path.length` when all are needed. */
  readonly optionalFrom: number;
  /** Where the reference begins, counted in what the author wrote. */
  readonly position: Position;
  /** Path of the string inside the template, empty for an expression. */
  readonly at: string;
}

/** The state of one evaluation: what a compiled node gets to see. Used inside this folder only. */
export interface Frame {
  readonly scope: Scope;
  /** Variables of loops, by the slot that compilation gave them. */
  readonly locals: Value[];
  readonly budget: Budget;
  readonly context: EvaluationContext;
}

/** A compiled node. Throws Problem or LimitProblem, nothing else. */
export type Evaluate = (frame: Frame) => Value;

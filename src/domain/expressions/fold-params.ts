/**
 * Filling in template parameters when a workflow is made: each `{{ … }}` that reads only `params` becomes a literal,
 * mixed ones stay and find `params` in scope later. Parameters are values and never become code: braces inside them are
 * written so that the next compilation reads them as text, and a field that is an expression stays as its author wrote it.
 */
import type { Json } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { compileAt, toFault } from "./compile-expression.ts";
import { evaluateExpression } from "./evaluate-expression.ts";
import { textOf } from "./evaluation.ts";
import type { Expression, TemplateFault } from "./expression.ts";
import { memberPath } from "./expressions-of.ts";
import { findBraces } from "./find-braces.ts";
import { positionsIn } from "./positions.ts";
import { references } from "./references.ts";
import { SyntaxProblem } from "./syntax-problem.ts";

/** What may stand somewhere, and so what a `{{ … }}` there can be replaced by. */
export interface FoldPlace {
  /**
   * `json`: any value · `text`: a field of type string, where an expression that gives something else stays, to be turned into text
   * when it is evaluated · `expression`: CEL itself, never touched.
   */
  readonly kind: "json" | "text" | "expression";
  /** Of a member; elements of a list have the place of the list. */
  at(key: string): FoldPlace;
}

const anything: FoldPlace = { kind: "json", at: () => anything };

/**
 * `value` with everything folded that only depends on `params`. Faults are syntax errors and expressions that fail with
 * these parameters (a missing one, a wrong type), each with path and position.
 */
export function foldParams(value: Json, params: Json, place: FoldPlace = anything): Result<Json, readonly TemplateFault[]> {
  const faults: TemplateFault[] = [];
  const folded = new Folding(params, faults).fold(value, place, "", limits.jsonDepthMax);
  return faults.length > 0 ? fail(faults) : ok(folded);
}

/** Text that, compiled as a template, gives `text` back. */
function escapeBraces(text: string): string {
  return text.replaceAll("{{", "{{'{{'}}");
}

class Folding {
  readonly #params: Json;
  readonly #faults: TemplateFault[];

  constructor(params: Json, faults: TemplateFault[]) {
    this.#params = params;
    this.#faults = faults;
  }

  fold(value: Json, place: FoldPlace, path: string, depthLeft: number): Json {
    if (typeof value === "string") return value.includes("{{") && place.kind !== "expression" ? this.#foldText(value, place, path) : value;
    if (typeof value !== "object" || value === null) return value;
    if (depthLeft <= 0) {
      const position = { offset: 0, line: 1, column: 1 };
      this.#faults.push({ path, reason: "LIMIT_EXCEEDED", problem: `is nested deeper than ${limits.jsonDepthMax} levels`, position });
      return value;
    }
    if (Array.isArray(value)) return value.map((item, index) => this.fold(item, place, `${path}[${index}]`, depthLeft - 1));
    const folded = (key: string): Json => this.fold(value[key] as Json, place.at(key), memberPath(path, key), depthLeft - 1);
    return Object.fromEntries(Object.keys(value).map((key) => [key, folded(key)]));
  }

  #foldText(text: string, { kind }: FoldPlace, path: string): Json {
    const positions = positionsIn(text);
    const params = this.#params;
    try {
      const pieces = findBraces(text);
      const only = pieces.length === 1 && pieces[0]?.kind === "source" ? compileAt(pieces[0].source, pieces[0].at, positions) : undefined;
      if (only) {
        if (!readsOnlyParams(only)) return text;
        const value = foldedValue(only, params);
        return kind === "text" && typeof value !== "string" ? text : escapeAll(value);
      }
      const parts = pieces.map((piece) => {
        if (piece.kind === "text") return { text: piece.text };
        const expression = compileAt(piece.source, piece.at, positions);
        return readsOnlyParams(expression) ? { text: textOf(foldedValue(expression, params)) } : { source: `{{${piece.source}}}` };
      });
      return writeParts(parts);
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) throw error;
      this.#faults.push({ path, ...toFault(error, positions) });
      return text;
    }
  }
}

/** Neighbouring texts are joined before they are escaped: two folded values may make `{{` together. */
function writeParts(parts: readonly { readonly text?: string; readonly source?: string }[]): string {
  let written = "";
  let pending = "";
  for (const part of parts) {
    if (part.source === undefined) {
      pending += part.text;
      continue;
    }
    const escaped = escapeBraces(pending);
    written += escaped.endsWith("{") ? `${escaped.slice(0, -1)}{{'{'}}` : escaped;
    written += part.source;
    pending = "";
  }
  return written + escapeBraces(pending);
}

/** At least one parameter: `{{'{{'}}` reads none and must stay what it is. */
function readsOnlyParams(expression: Expression): boolean {
  const found = references(expression);
  return found.length > 0 && !expression.usesContext && found.every((reference) => reference.root === "params");
}

function foldedValue(expression: Expression, params: Json): Json {
  const result = evaluateExpression(expression, { params }, { executionId: "", stepPath: "" });
  if (!result.ok)
    throw new SyntaxProblem(
      result.fault.message,
      expression.position.offset,
      result.fault.name === "LIMIT.EXPRESSION" ? "LIMIT_EXCEEDED" : "EXPRESSION_INVALID",
    );
  return result.value;
}

function escapeAll(value: Json): Json {
  if (typeof value === "string") return escapeBraces(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(escapeAll);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, escapeAll(member)]));
}

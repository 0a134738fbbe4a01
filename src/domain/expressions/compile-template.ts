/** A JSON value whose texts may hold `{{ … }}`, checked and made ready to be filled in. */
import type { Json } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { compileAt, toFault } from "./compile-expression.ts";
import type { Expression, Template, TemplateFault } from "./expression.ts";
import { memberPath } from "./expressions-of.ts";
import { findBraces } from "./find-braces.ts";
import { positionsIn } from "./positions.ts";
import { SyntaxProblem } from "./syntax-problem.ts";

/** Compiling costs about 30 µs for each new expression, so that a hostile definition must be stopped early. */
const expressionsPerTemplateMax = 1_000;
/** Faults after which nothing more is compiled: nobody reads the rest before mending these. */
const faultsMax = 100;

/** One compilation: what was found so far. */
interface Progress {
  readonly faults: TemplateFault[];
  expressions: number;
}

/**
 * Compiles `value`. A text that is exactly one `{{ … }}` will keep the type of its value, others become text. Values
 * without expressions stay the author's own and cost nothing later. Keys of objects are never expressions. All faults
 * are returned (the first 100), each with the path of its text.
 */
export function compileTemplate(value: Json): Result<Template, readonly TemplateFault[]> {
  const progress: Progress = { faults: [], expressions: 0 };
  const template = compile(value, "", limits.jsonDepthMax, progress);
  return progress.faults.length > 0 ? fail(progress.faults) : ok(template);
}

/** Whether anything in the template depends on the execution. */
export function hasExpressions(template: Template): boolean {
  return template.kind !== "constant";
}

function compile(value: Json, path: string, depthLeft: number, progress: Progress): Template {
  const constant = { kind: "constant", value } as const;
  if (progress.faults.length >= faultsMax || progress.expressions > expressionsPerTemplateMax) return constant;
  if (typeof value === "string") return value.includes("{{") ? (compileText(value, path, progress) ?? constant) : constant;
  if (typeof value !== "object" || value === null) return constant;
  if (depthLeft <= 0) {
    const position = { offset: 0, line: 1, column: 1 };
    progress.faults.push({ path, reason: "LIMIT_EXCEEDED", problem: `is nested deeper than ${limits.jsonDepthMax} levels`, position });
    return constant;
  }
  if (Array.isArray(value)) {
    const items = value.map((item, index) => compile(item, `${path}[${index}]`, depthLeft - 1, progress));
    return items.some(hasExpressions) ? { kind: "list", items } : constant;
  }
  const entries = Object.keys(value).map((key) => [key, compile(value[key] as Json, memberPath(path, key), depthLeft - 1, progress)] as const);
  return entries.some(([, entry]) => hasExpressions(entry)) ? { kind: "object", entries } : constant;
}

function compileText(text: string, path: string, progress: Progress): Template | undefined {
  const parts: (string | Expression)[] = [];
  const positions = positionsIn(text);
  try {
    for (const piece of findBraces(text)) {
      if (piece.kind === "text") {
        parts.push(piece.text);
        continue;
      }
      progress.expressions++;
      if (progress.expressions > expressionsPerTemplateMax) {
        throw new SyntaxProblem(`there are more than ${expressionsPerTemplateMax} expressions`, piece.at, "LIMIT_EXCEEDED");
      }
      parts.push(compileAt(piece.source, piece.at, positions));
    }
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    progress.faults.push({ path, ...toFault(error, positions) });
    return undefined;
  }
  const [first, ...more] = parts;
  return typeof first === "object" && more.length === 0 ? first : { kind: "text", parts };
}

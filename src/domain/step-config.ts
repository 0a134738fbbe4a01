/**
 * Compiles a step's own fields by the rules of its type: templates to be rendered before the step runs, expressions and
 * deferred templates that its handler asks for.
 */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { compileExpressionField, compileTemplateField } from "./compile-field.ts";
import type { StepConfig } from "./definition.ts";
import type { Expression, Template } from "./expressions/expression.ts";
import type { Report } from "./report.ts";
import type { FieldRule, StepTypeSpec } from "./step-type.ts";

/** `path` is where the configuration stands in the request (`definition.steps[0].http_request`). */
export function compileStepConfig(spec: StepTypeSpec, source: JsonObject, path: string, report: Report): StepConfig {
  const deferred = new Map<string, Expression | Template>();
  const rendered = compileField(source, { rules: spec.fields, report, root: path, deferred }, "", "");
  return { source, rendered, deferred };
}

/** The rule for a concrete path inside a configuration (`operations[0].filter`), or undefined. */
export function fieldRuleOf(spec: StepTypeSpec, concretePath: string): FieldRule | undefined {
  return spec.fields[concretePath.replaceAll(/\[\d+\]/g, "[]")];
}

interface Walk {
  readonly rules: Readonly<Record<string, FieldRule>>;
  readonly report: Report;
  readonly root: string;
  readonly deferred: Map<string, Expression | Template>;
}

/** `pattern` is the path with every index as `[]`, `path` the concrete one. */
function compileField(value: Json, walk: Walk, pattern: string, path: string): Template {
  const rule = Object.hasOwn(walk.rules, pattern) ? walk.rules[pattern] : undefined;
  if (rule) return compileRule(value, rule, walk, path);
  if (Array.isArray(value)) {
    return foldConstant({ kind: "list", items: value.map((item, index) => compileField(item, walk, `${pattern}[]`, `${path}[${index}]`)) }, value);
  }
  if (isJsonObject(value)) {
    const entries = Object.entries(value).map(
      ([key, member]) => [key, compileField(member, walk, pattern === "" ? key : `${pattern}.${key}`, path === "" ? key : `${path}.${key}`)] as const,
    );
    return foldConstant({ kind: "object", entries }, value);
  }
  if (typeof value === "string" && value.includes("{{")) {
    walk.report.violation(`${walk.root}.${path}`, "EXPRESSION_INVALID", "this field takes no {{ }} expressions; write a literal value");
  }
  return { kind: "constant", value };
}

function compileRule(value: Json, rule: FieldRule, walk: Walk, path: string): Template {
  const at = `${walk.root}.${path}`;
  if (rule.as === "expression") {
    const expression = compileExpressionField(value, at, walk.report);
    if (expression) walk.deferred.set(path, expression);
    return { kind: "constant", value };
  }
  const template = compileTemplateField(value, at, walk.report);
  if (template && rule.as === "template") return template;
  if (template && rule.as === "html") return escaped(template);
  if (template) walk.deferred.set(path, template);
  return { kind: "constant", value };
}

function escaped(template: Template): Template {
  if (template.kind === "expression") return { kind: "text", parts: [template], escape: "html" };
  return template.kind === "text" ? { ...template, escape: "html" } : template;
}

function foldConstant(template: Extract<Template, { kind: "list" | "object" }>, value: Json): Template {
  const parts = template.kind === "list" ? template.items : template.entries.map(([, member]) => member);
  return parts.every((part) => part.kind === "constant") ? { kind: "constant", value } : template;
}

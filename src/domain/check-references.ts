/**
 * Checks at save that every variable an expression reads exists where it stands: known names only, and of `steps` only
 * those that run before. A step in a branch that was not taken reads as null, so any step written earlier may be named.
 */
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { joinPath, withPlace } from "./compile-field.ts";
import { type Definition, type Step, scopeVariables } from "./definition.ts";
import type { Expression, Reference, Template } from "./expressions/expression.ts";
import { inferKind } from "./expressions/infer-kind.ts";
import { references } from "./expressions/references.ts";
import type { Kind } from "./expressions/value.ts";
import type { Report } from "./report.ts";
import { placeIn, type SchemaPlace } from "./schema-kind.ts";
import { fieldRuleOf } from "./step-config.ts";
import type { StepTypes } from "./step-type.ts";

/** `parametersSchema` is that of `params`, where it is known. */
export function checkReferences(
  definition: Definition,
  source: JsonObject,
  path: string,
  stepTypes: StepTypes,
  report: Report,
  parametersSchema?: JsonObject,
): void {
  const check = new Check(definition, stepTypes, report, parametersSchema);
  check.expression(definition.variables, `${path}.variables`, [], ["steps", "variables"]);
  check.expression(definition.concurrency?.key, `${path}.concurrency.key`, [], ["steps", "variables"]);
  check.sequence(definition.steps, []);
  if (source["outputs"] !== undefined) check.expression(definition.outputs, `${path}.outputs`, [], []);
}

const kindWords: Partial<Record<Kind, string>> = {
  bool: "true or false",
  list: "a list",
  string: "text",
  timestamp: "a timestamp",
  duration: "a duration",
  null: "null",
};

/** What is always there, and nothing beside it. */
const closedMembers: Readonly<Record<string, ReadonlySet<string>>> = {
  trigger: new Set(["type", "data", "time"]),
  workflow: new Set(["id", "name", "revision"]),
  saga: new Set(["id"]),
  error: new Set(["name", "message", "details"]),
  original: new Set(["input", "result"]),
};
const stepMembers: ReadonlySet<string> = new Set(["result", "status", "error", "attempts"]);

function unknownMember(of: string, member: string, members: ReadonlySet<string>): string {
  const names = [...members];
  const known = names.length === 0 ? "it has none" : `known are ${names.slice(0, 20).join(", ")}${names.length > 20 ? " …" : ""}`;
  return `${of} has no member "${member}"; ${known}`;
}

class Check {
  readonly #definition: Definition;
  readonly #stepTypes: StepTypes;
  readonly #report: Report;
  readonly #parametersSchema: JsonObject | undefined;
  /** Steps written before the place that is being checked. */
  #earlier = new Set<string>();
  #variables: ReadonlySet<string> | undefined;

  constructor(definition: Definition, stepTypes: StepTypes, report: Report, parametersSchema: JsonObject | undefined) {
    this.#definition = definition;
    this.#parametersSchema = parametersSchema;
    this.#stepTypes = stepTypes;
    this.#report = report;
  }

  sequence(steps: readonly Step[], extra: readonly string[]): void {
    for (const step of steps) this.#step(step, extra);
  }

  #step(step: Step, extra: readonly string[]): void {
    this.#condition(step.runIf, `${step.at}.run_if`, extra);
    this.expression(step.idempotencyKey, `${step.at}.idempotency_key`, extra, []);
    this.expression(step.breaker?.key, `${step.at}.circuit_breaker.key`, extra, []);
    this.#condition(step.retry.retryIf, `${step.at}.retry_policy.retry_if`, [...extra, "error", "attempt"]);
    this.#config(step, extra);
    this.#block(step, extra);
    this.#earlier.add(step.name);
    for (const [variable, expression] of step.exports) this.expression(expression, `${step.at}.export.${variable}`, [...extra, "result"], []);
    const undo = step.compensation?.step;
    if (undo) {
      this.#config(undo, [...extra, "original", "error"]);
      this.expression(undo.breaker?.key, `${undo.at}.circuit_breaker.key`, [...extra, "original", "error"], []);
    }
    step.catches.forEach((candidate, index) => {
      this.#condition(candidate.when, `${step.at}.on_error.catches[${index}].when`, [...extra, "error"]);
      this.sequence(candidate.steps, [...extra, "error"]);
    });
  }

  /** Branches do not see each other's steps, and a loop's steps are seen by the same item only. */
  #block(step: Step, extra: readonly string[]): void {
    const { block, sequences } = step;
    const at = `${step.at}.${step.type}`;
    if (block?.kind === "for_each") {
      this.expression(block.items, `${at}.items`, extra, []);
      this.#kind(block.items, `${at}.items`, ["list"]);
      const inside = [...extra, block.itemVariable, "item_index"];
      const before = new Set(this.#earlier);
      for (const sequence of sequences) this.sequence(sequence.steps, inside);
      this.expression(block.collect, `${at}.collect`, inside, []);
      this.#earlier = before;
    } else if (block?.kind === "parallel") {
      const before = this.#earlier;
      const after = new Set(before);
      for (const sequence of sequences) {
        this.#earlier = new Set(before);
        this.sequence(sequence.steps, extra);
        for (const name of this.#earlier) after.add(name);
      }
      this.#earlier = after;
    } else {
      sequences.forEach((sequence, index) => {
        this.#condition(sequence.when, `${at}.cases[${index}].when`, extra);
      });
      for (const sequence of sequences) this.sequence(sequence.steps, extra);
    }
  }

  #config(step: Step, extra: readonly string[]): void {
    const at = `${step.at}.${step.type}`;
    this.expression(step.config.rendered, at, extra, []);
    const spec = this.#stepTypes.get(step.type);
    for (const [field, expression] of step.config.deferred) {
      const { adds = [], kinds } = (spec && fieldRuleOf(spec, field)) ?? {};
      this.expression(expression, `${at}.${field}`, [...extra, ...adds], []);
      if (kinds && expression.kind === "expression") this.#kind(expression, `${at}.${field}`, kinds);
    }
  }

  #condition(compiled: Expression | undefined, path: string, extra: readonly string[]): void {
    this.expression(compiled, path, extra, []);
    this.#kind(compiled, path, ["bool"]);
  }

  /** Refuses an expression that surely has a value of another kind, by its text or by the schemas of the data. */
  #kind(compiled: Expression | undefined, path: string, kinds: readonly Kind[]): void {
    const kind = compiled && inferKind(compiled, (root, at) => this.#kindAt(root, at));
    if (kind === undefined || kinds.includes(kind)) return;
    this.#report.violation(path, "EXPRESSION_TYPE", `must be ${kinds.map((name) => kindWords[name] ?? name).join(", or ")}, but is always of type ${kind}`);
  }

  #kindAt(root: string, path: readonly (string | number)[]): Kind | undefined {
    const place = this.#placeAt(root, path);
    return place && "kind" in place ? place.kind : undefined;
  }

  /** What input_schema says of `trigger.data`, the template's schema of `params`, and result_schema of `steps.x.result`; undefined: nothing. */
  #placeAt(root: string, path: readonly (string | number)[]): SchemaPlace | undefined {
    const { inputSchema, stepsByName } = this.#definition;
    if (root === "trigger" && path[0] === "data") return inputSchema && placeIn(inputSchema, path.slice(1));
    if (root === "params") return this.#parametersSchema && placeIn(this.#parametersSchema, path);
    if (root !== "steps" || path[1] !== "result") return undefined;
    const schema = stepsByName.get(String(path[0]))?.resultSchema;
    return schema && placeIn(schema, path.slice(2));
  }

  /** A member that no value fitting the schema has. What may be absent (`has(…)`, `.?`) is not asked for. */
  #missing({ root, path, optionalFrom }: Reference): string | undefined {
    const place = this.#placeAt(root, path.slice(0, optionalFrom));
    if (!place || !("missing" in place)) return undefined;
    const from = root === "trigger" ? 1 : root === "params" ? 0 : 2;
    return `${[root, ...path.slice(0, from + place.depth)].join(".")} ${place.missing}`;
  }

  expression(compiled: Expression | Template | undefined, path: string, extra: readonly string[], without: readonly string[]): void {
    if (!compiled) return;
    for (const reference of references(compiled)) {
      const problem = this.#problemOf(reference, extra, without);
      const missing = problem === undefined ? this.#missing(reference) : undefined;
      const at = joinPath(path, reference.at);
      if (problem) this.#report.violation(at, "UNKNOWN_VARIABLE", withPlace(problem, reference.position));
      if (missing) this.#report.violation(at, "EXPRESSION_TYPE", withPlace(missing, reference.position));
    }
  }

  /** Undefined: open. Variables are those that the definition gives a start value, sets or exports. */
  #membersOf(root: string): ReadonlySet<string> | undefined {
    return root === "variables" ? (this.#variables ??= variablesOf(this.#definition)) : closedMembers[root];
  }

  #problemOf(reference: Reference, extra: readonly string[], without: readonly string[]): string | undefined {
    const { root, path, optionalFrom } = reference;
    const known = [...scopeVariables.filter((name) => !without.includes(name)), ...extra];
    if (root === "secrets") return "secrets are not readable in expressions; name one in a SecretRef field";
    if (!known.includes(root)) return `"${root}" is not a variable here; known are ${known.join(", ")}`;
    const member = optionalFrom > 0 && typeof path[0] === "string" ? path[0] : undefined;
    const members = this.#membersOf(root);
    if (member !== undefined && members && !members.has(member)) return unknownMember(root, member, members);
    if (root !== "steps" || path.length === 0) return undefined;
    const name = String(path[0]);
    if (!this.#definition.stepsByName.has(name)) return `there is no step "${name}" in this definition`;
    if (!this.#earlier.has(name))
      return `step "${name}" does not run before this place; only earlier steps have a result (a loop's steps for the same item only)`;
    const seen = optionalFrom > 1 ? path[1] : undefined;
    if (typeof seen === "string" && !stepMembers.has(seen)) return unknownMember(`steps.${name}`, seen, stepMembers);
    return undefined;
  }
}

function variablesOf({ variables, stepsByName }: Definition): ReadonlySet<string> {
  const names = new Set(variables?.kind === "object" ? variables.entries.map(([name]) => name) : Object.keys(constantOf(variables)));
  for (const step of stepsByName.values()) {
    for (const name of step.exports.keys()) names.add(name);
    const set = step.setsVariables ? step.config.source["variables"] : undefined;
    if (isJsonObject(set)) for (const name of Object.keys(set)) names.add(name);
  }
  return names;
}

function constantOf(template: Template | undefined): JsonObject {
  return template?.kind === "constant" && isJsonObject(template.value) ? template.value : {};
}

/**
 * From a template and parameters to the definition of a workflow. Parameters are values: each `{{ … }}` that reads only
 * `params` becomes a literal now, expressions that read more keep `params` in scope, and nothing a caller sends is ever
 * read as an expression.
 */
import type { FieldViolation } from "../../base/errors.ts";
import { findJsonFault, isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { joinPath } from "../compile-field.ts";
import { type FoldPlace, foldParams } from "../expressions/fold-params.ts";
import { findSchemaFaults, findSchemaProblem, type SchemaFault } from "../json-schema.ts";
import { applyDefaults } from "./apply-defaults.ts";
import { applyOverrides } from "./apply-overrides.ts";

export interface TemplateContent {
  /** JSON Schema (2020-12) of an object; empty accepts any parameters. */
  readonly parametersSchema: JsonObject;
  /** Proto JSON of a WorkflowDefinition; its strings may read `params`. */
  readonly definition: JsonObject;
  /** By parameter, over the defaults of the schema. */
  readonly parameterDefaults?: JsonObject;
}

export interface Instance {
  /** The template's definition with parameters folded in; still to be checked by `parseDefinition`. */
  readonly definition: JsonObject;
  /** As given, with defaults filled in: what expressions see as `params`. */
  readonly parameters: JsonObject;
}

/**
 * `overrides` are changes beyond the template (proto JSON of StepOverride); they come before the folding, so they may read
 * `params` like the template. Violations lead with `parameters` (PARAMETERS_INVALID), `overrides` (OVERRIDE_INVALID) or, for a
 * schema that is none, `template.parameters_schema`. `place` tells which fields of a definition are text or expressions.
 */
export function instantiate(
  template: TemplateContent,
  given: JsonObject,
  overrides: readonly Json[] = [],
  place?: FoldPlace,
): Result<Instance, readonly FieldViolation[]> {
  const { parametersSchema, parameterDefaults = {} } = template;
  const problem = findSchemaProblem(parametersSchema);
  if (problem !== undefined) return fail([{ field: "template.parameters_schema", reason: "SCHEMA_INVALID", description: problem }]);
  const fault = findJsonFault(given);
  if (fault) return fail([invalid(fault.path, fault.problem)]);
  const filled = Object.fromEntries([...Object.entries(structuredClone(parameterDefaults)), ...Object.entries(given)]);
  const parameters = applyDefaults(parametersSchema, filled) as JsonObject;
  const checked = check(parametersSchema, parameters);
  if (!checked.ok) return checked;
  const definition = applyOverrides(template.definition, overrides);
  if (!definition.ok) return definition;
  const folded = foldParams(definition.value, parameters, place);
  if (folded.ok) return ok({ definition: folded.value as JsonObject, parameters });
  return fail(folded.fault.map(({ path, problem }) => invalid("", `they do not fit the template at ${joinPath("definition", path)}: ${problem}`)));
}

function check(schema: JsonObject, parameters: JsonObject): Result<undefined, readonly FieldViolation[]> {
  const faults = findSchemaFaults(schema, parameters);
  return faults.length > 0 ? fail(faults.map((fault) => explain(fault, schema))) : ok(undefined);
}

/** The validator's words for what people get wrong most often, said in terms of parameters. */
function explain({ path, problem }: SchemaFault, schema: JsonObject): FieldViolation {
  const missing = /^lacks the required property "(.+)"$/.exec(problem)?.[1];
  if (missing !== undefined) return invalid(path === "" ? missing : `${path}.${missing}`, "is required");
  if (problem === "is not allowed") return invalid(path, "is not a parameter of this template");
  const pattern = problem === "does not match pattern" ? schemaAt(schema, path)?.["pattern"] : undefined;
  return invalid(path, typeof pattern === "string" ? `must match ${pattern}` : problem);
}

/** The schema of a place, as far as it is written under `properties` and `items`. */
function schemaAt(schema: JsonObject, path: string): JsonObject | undefined {
  let found: Json | undefined = schema;
  for (const [part, index] of path.matchAll(/\[(\d+)\]|[^.[\]]+/g)) {
    if (!isJsonObject(found)) return undefined;
    const properties: Json | undefined = found["properties"];
    found = index !== undefined ? found["items"] : isJsonObject(properties) && Object.hasOwn(properties, part) ? properties[part] : undefined;
  }
  return isJsonObject(found) ? found : undefined;
}

function invalid(path: string, description: string): FieldViolation {
  return { field: joinPath("parameters", path), reason: "PARAMETERS_INVALID", description };
}

/**
 * Inheritance flattened: a template's own content over the resolved form of its base. The base's version is fixed when a
 * template is published, so its resolved form is fixed too and stored with the version; nothing walks a chain at run time.
 */
import type { FieldViolation } from "../../base/errors.ts";
import { canonicalJson, isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { findSchemaFault, findSchemaProblem } from "../json-schema.ts";
import { applyOverrides } from "./apply-overrides.ts";
import { stepsOf, withoutHeld } from "./walk-steps.ts";

/** A template and one of its versions; 0 is its draft. */
export interface TemplateSource {
  readonly templateId: string;
  readonly templateName: string;
  readonly version: number;
}

export interface ResolvedTemplate {
  readonly definition: JsonObject;
  /** JSON Schema of all parameters, inherited ones too; empty accepts any. */
  readonly parametersSchema: JsonObject;
  /** Over the `default`s of the schema. */
  readonly parameterDefaults: JsonObject;
  /** Where inherited steps come from, by name; those that are not here are the template's own. */
  readonly stepSources: Readonly<Record<string, TemplateSource>>;
  /** The same for parameters. */
  readonly parameterSources: Readonly<Record<string, TemplateSource>>;
  /** What it inherits from, the direct base first. */
  readonly bases: readonly TemplateSource[];
}

export interface ResolvedBase extends TemplateSource {
  readonly resolved: ResolvedTemplate;
}

/** Templates above each other; each one more is harder to understand. */
const inheritanceDepthMax = 5;

/**
 * `content` is a template's own: proto JSON of its parameters_schema, definition, overrides, parameter_defaults. `self` is its
 * id, to find cycles. Violations bear paths below `path`.
 */
export function resolveTemplate(
  content: JsonObject,
  base: ResolvedBase | undefined,
  self: string | undefined,
  path = "template",
): Result<ResolvedTemplate, readonly FieldViolation[]> {
  const own = objectOf(content["parameters_schema"]);
  const problem = findSchemaProblem(own);
  if (problem !== undefined) return refuse(`${path}.parameters_schema`, "SCHEMA_INVALID", problem);
  const { type = "object" } = own;
  if (type !== "object") return refuse(`${path}.parameters_schema.type`, "SCHEMA_INVALID", 'parameters are the members of an object: use "object"');
  const bases = base ? [{ templateId: base.templateId, templateName: base.templateName, version: base.version }, ...base.resolved.bases] : [];
  if (bases.some(({ templateId }) => templateId === self)) {
    const chain = bases.map(({ templateName }) => templateName).join(", then ");
    return refuse(`${path}.base_template`, "TEMPLATE_CYCLE", `it would inherit from itself, through ${chain}`);
  }
  if (bases.length > inheritanceDepthMax) {
    return refuse(
      `${path}.base_template`,
      "LIMIT_EXCEEDED",
      `templates inherit over at most ${inheritanceDepthMax} levels; this would be level ${bases.length}`,
    );
  }
  const inherited = base?.resolved;
  const overrides = Array.isArray(content["overrides"]) ? content["overrides"] : [];
  const definition = applyOverrides(inherited?.definition ?? objectOf(content["definition"]), overrides, `${path}.overrides`);
  if (!definition.ok) return definition;
  const parametersSchema = inherited ? mergeSchemas(inherited.parametersSchema, own) : own;
  const parameterDefaults = Object.fromEntries([
    ...Object.entries(inherited?.parameterDefaults ?? {}),
    ...Object.entries(objectOf(content["parameter_defaults"])),
  ]);
  const faults = checkDefaults(parametersSchema, parameterDefaults, `${path}.parameter_defaults`);
  if (faults.length > 0) return fail(faults);
  const sources = base ? inheritedParts(base, { definition: definition.value, parametersSchema, parameterDefaults }) : { steps: {}, parameters: {} };
  return ok({ definition: definition.value, parametersSchema, parameterDefaults, stepSources: sources.steps, parameterSources: sources.parameters, bases });
}

/** Properties, requirements and `$defs` add up, the inheriting schema's winning; of all other keywords it has the say where it says something. */
function mergeSchemas(base: JsonObject, own: JsonObject): JsonObject {
  const merged = new Map<string, Json>([...Object.entries(base), ...Object.entries(own)]);
  for (const key of ["properties", "$defs"]) {
    if (isJsonObject(base[key]) && isJsonObject(own[key])) merged.set(key, Object.fromEntries([...Object.entries(base[key]), ...Object.entries(own[key])]));
  }
  const required = [base["required"], own["required"]].flatMap((names) => (Array.isArray(names) ? names : []));
  if (required.length > 0) merged.set("required", [...new Set(required)]);
  return Object.fromEntries(merged);
}

/** A default has to be a parameter, and a value that the parameter takes. */
function checkDefaults(schema: JsonObject, defaults: JsonObject, path: string): FieldViolation[] {
  const properties = objectOf(schema["properties"]);
  return Object.entries(defaults).flatMap(([name, value]): FieldViolation[] => {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property === undefined) {
      if (schema["additionalProperties"] !== false) return [];
      return [{ field: `${path}.${name}`, reason: "PARAMETERS_INVALID", description: "is not a parameter of this template" }];
    }
    // The definitions that a property's schema refers to stand beside it.
    const rest = { ...schema, properties: { [name]: property }, required: [], additionalProperties: true };
    const fault = findSchemaFault(rest, { [name]: value });
    return fault ? [{ field: `${path}.${fault.path || name}`, reason: "PARAMETERS_INVALID", description: fault.problem }] : [];
  });
}

type Parts = Pick<ResolvedTemplate, "definition" | "parametersSchema" | "parameterDefaults">;

/** What came from the base as it is; a step counts without the steps it holds, which have sources of their own. */
function inheritedParts(base: ResolvedBase, parts: Parts): { steps: Record<string, TemplateSource>; parameters: Record<string, TemplateSource> } {
  const source: TemplateSource = { templateId: base.templateId, templateName: base.templateName, version: base.version };
  const { resolved } = base;
  return {
    steps: sourcesOf(stepTexts(resolved.definition), stepTexts(parts.definition), resolved.stepSources, source),
    parameters: sourcesOf(parameterTexts(resolved), parameterTexts(parts), resolved.parameterSources, source),
  };
}

function sourcesOf(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
  known: Readonly<Record<string, TemplateSource>>,
  base: TemplateSource,
): Record<string, TemplateSource> {
  const same = [...after].filter(([name, text]) => before.get(name) === text);
  return Object.fromEntries(same.map(([name]) => [name, Object.hasOwn(known, name) ? (known[name] as TemplateSource) : base]));
}

function stepTexts(definition: JsonObject): Map<string, string> {
  return new Map(stepsOf(definition).map(({ name, step }) => [name, canonicalJson(withoutHeld(step))]));
}

function parameterTexts({ parametersSchema, parameterDefaults }: Pick<ResolvedTemplate, "parametersSchema" | "parameterDefaults">): Map<string, string> {
  const properties = objectOf(parametersSchema["properties"]);
  const defaultOf = (name: string): Json => (Object.hasOwn(parameterDefaults, name) ? [parameterDefaults[name] as Json] : []);
  return new Map(Object.entries(properties).map(([name, schema]) => [name, canonicalJson([schema, defaultOf(name)])]));
}

function objectOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

function refuse(field: string, reason: FieldViolation["reason"], description: string): Result<never, readonly FieldViolation[]> {
  return fail([{ field, reason, description }]);
}

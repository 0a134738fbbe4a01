/** The resolved form of a template version as it is stored: proto names, and nothing that the content says already. */
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import type { ResolvedTemplate, TemplateSource } from "./resolve-template.ts";

/** What a version does, flattened; its digest is taken of this. Absent members mean empty ones. */
export function flatContent({
  parametersSchema,
  definition,
  parameterDefaults,
}: Pick<ResolvedTemplate, "parametersSchema" | "definition" | "parameterDefaults">) {
  const present = (name: string, value: JsonObject): [string, Json][] => (Object.keys(value).length === 0 ? [] : [[name, value]]);
  const members = [...present("parameters_schema", parametersSchema), ["definition", definition], ...present("parameter_defaults", parameterDefaults)];
  return Object.fromEntries(members as [string, Json][]) as JsonObject;
}

export function resolvedToJson(resolved: ResolvedTemplate): JsonObject {
  const { stepSources, parameterSources, bases } = resolved;
  return { ...flatContent(resolved), step_sources: sourcesJson(stepSources), parameter_sources: sourcesJson(parameterSources), bases: bases.map(sourceJson) };
}

/** `content` is the version's own; `stored` its resolved form, undefined where it inherits nothing. */
export function readResolved(content: JsonObject, stored: JsonObject | undefined): ResolvedTemplate {
  const flat = stored ?? content;
  return {
    definition: objectOf(flat["definition"]),
    parametersSchema: objectOf(flat["parameters_schema"]),
    parameterDefaults: objectOf(flat["parameter_defaults"]),
    stepSources: readSources(stored?.["step_sources"]),
    parameterSources: readSources(stored?.["parameter_sources"]),
    bases: (Array.isArray(stored?.["bases"]) ? stored["bases"] : []).map(readSource),
  };
}

function sourcesJson(sources: Readonly<Record<string, TemplateSource>>): JsonObject {
  return Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, sourceJson(source)]));
}

function sourceJson({ templateId, templateName, version }: TemplateSource): JsonObject {
  return { template_id: templateId, template_name: templateName, version };
}

function readSources(value: Json | undefined): Record<string, TemplateSource> {
  return Object.fromEntries(Object.entries(objectOf(value)).map(([name, source]) => [name, readSource(source)]));
}

function readSource(value: Json): TemplateSource {
  const source = objectOf(value);
  return { templateId: String(source["template_id"]), templateName: String(source["template_name"]), version: Number(source["version"]) };
}

function objectOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

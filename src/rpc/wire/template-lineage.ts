/** Where the parts of a template come from, and what comes from a template, as messages. */
import { create } from "@bufbuild/protobuf";
import {
  type TemplateDescendant,
  TemplateDescendantSchema,
  type TemplateOrigin,
  TemplateOriginSchema,
} from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import type { ResolvedTemplate, TemplateSource } from "../../domain/templates/resolve-template.ts";
import { stepsOf } from "../../domain/templates/walk-steps.ts";
import type { Descendant } from "../../store/template-descendants.ts";

/** Steps in the order of the definition, then parameters; `self` is the template itself. */
export function originsToMessages(resolved: ResolvedTemplate, self: TemplateSource): TemplateOrigin[] {
  const originOf = (part: TemplateOrigin["part"], sources: Readonly<Record<string, TemplateSource>>, name: string): TemplateOrigin => {
    const { templateId, templateName, version } = Object.hasOwn(sources, name) ? (sources[name] as TemplateSource) : self;
    return create(TemplateOriginSchema, { part, templateId, templateName, version });
  };
  return [
    ...stepsOf(resolved.definition).map(({ name }) => originOf({ case: "step", value: name }, resolved.stepSources, name)),
    ...parameterNames(resolved).map((name) => originOf({ case: "parameter", value: name }, resolved.parameterSources, name)),
  ];
}

/** The value of each parameter that none needs to give: the template's defaults over those of the schema. */
export function defaultsOf({ parametersSchema, parameterDefaults }: ResolvedTemplate): JsonObject {
  const declared = Object.entries(propertiesOf(parametersSchema)).flatMap(([name, schema]): [string, Json][] =>
    isJsonObject(schema) && schema["default"] !== undefined ? [[name, schema["default"]]] : [],
  );
  return Object.fromEntries([...declared, ...Object.entries(parameterDefaults)]);
}

export function descendantToMessage({ kind, id, name, version, distance }: Descendant): TemplateDescendant {
  const descendant = kind === "template" ? ({ case: "templateId", value: id } as const) : ({ case: "workflowId", value: id } as const);
  return create(TemplateDescendantSchema, { descendant, name, version, distance });
}

function parameterNames({ parametersSchema }: ResolvedTemplate): string[] {
  return Object.keys(propertiesOf(parametersSchema));
}

function propertiesOf(schema: JsonObject): JsonObject {
  return isJsonObject(schema["properties"]) ? schema["properties"] : {};
}

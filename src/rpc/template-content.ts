/** From what a template says to what may be stored of it: base found and fixed, inheritance flattened, everything checked. */
import { fromJson } from "@bufbuild/protobuf";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import type { DefinitionIssue } from "#gen/pyairtable/workflow/v1/definition_report_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, messageOf, violationsError } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { type ResolvedBase, type ResolvedTemplate, resolveTemplate } from "../domain/templates/resolve-template.ts";
import { readResolved } from "../domain/templates/stored-template.ts";
import type { TemplateRecord, TemplateVersionRecord } from "../store/template-row.ts";
import { checkDefinitionJson } from "./definition-check.ts";
import { contractValidator } from "./interceptors/contract-validator.ts";
import { findRuleFaults } from "./interceptors/validation.ts";
import type { RpcParts } from "./parts.ts";
import { overridesWithNames } from "./wire/step-patch.ts";

export interface PreparedContent {
  /** With the version of the base fixed. */
  readonly content: JsonObject;
  readonly resolved: ResolvedTemplate;
  /** The base is another one than before, so it must still be there when this is stored. */
  readonly newBase: boolean;
  readonly warnings: DefinitionIssue[];
}

/** The template whose content it is; absent for one that does not exist yet. */
export interface ContentOwner {
  readonly id: string;
  /** Whose base may be used on even if it was deleted. */
  readonly content: JsonObject | undefined;
}

/** @throws AppError TEMPLATE_NOT_FOUND, TEMPLATE_VERSION_NOT_FOUND, TEMPLATE_NOT_PUBLISHED (base), TEMPLATE_CYCLE, OVERRIDE_INVALID, definition reasons */
export async function prepareContent(
  parts: RpcParts,
  caller: Caller,
  given: JsonObject,
  owner: ContentOwner | undefined,
  path = "template",
): Promise<PreparedContent> {
  const reference = baseOf(given);
  const kept = reference !== undefined && isSameBase(reference, owner?.content?.["base_template"]);
  const base = reference && (await findBase(parts, caller, reference, kept));
  return { ...(await prepareOnBase(parts, caller, given, base, owner?.id, path)), newBase: base !== undefined && !kept };
}

/** What `base_template` refers to, when it is set. */
export function baseOf(content: JsonObject): JsonObject | undefined {
  return isJsonObject(content["base_template"]) ? content["base_template"] : undefined;
}

/** The same with a base that was found already. `self` is the id of the template. */
export async function prepareOnBase(
  parts: Pick<RpcParts, "stepTypesOf">,
  caller: Caller,
  given: JsonObject,
  base: ResolvedBase | undefined,
  self: string | undefined,
  path: string,
): Promise<PreparedContent> {
  const overrides = Array.isArray(given["overrides"]) ? overridesWithNames(given["overrides"], `${path}.overrides`) : [];
  if ((base === undefined) === (given["definition"] === undefined) || (!base && overrides.length > 0)) {
    const description = "a template has a definition, or a base_template with overrides, and not both; clear the other one in the same call";
    throw violationsError([{ field: path, reason: "VALIDATION_FAILED", description }]);
  }
  const content: JsonObject = {
    ...given,
    ...(overrides.length > 0 ? { overrides } : {}),
    ...(base ? { base_template: { template: base.templateId, version: base.version } } : {}),
  };
  const resolved = resolveTemplate(content, base, self, path);
  if (!resolved.ok) throw violationsError(resolved.fault);
  const { definition, parametersSchema } = resolved.value;
  if (base) checkShape(definition, `${path}.definition`);
  const { warnings } = checkDefinitionJson(definition, await parts.stepTypesOf(caller.tenantId), `${path}.definition`, parametersSchema);
  return { content, resolved: resolved.value, newBase: base !== undefined, warnings };
}

/** The resolved form of a head's draft, or of its newest version where there is none; the base's newest version where none is fixed. */
export async function resolveHead(
  parts: RpcParts,
  caller: Caller,
  template: TemplateRecord,
  version: TemplateVersionRecord | undefined,
): Promise<ResolvedTemplate> {
  if (template.draft === undefined) return readResolved(version?.content ?? {}, version?.resolved);
  const base = isJsonObject(template.draft["base_template"]) ? template.draft["base_template"] : undefined;
  const resolved = resolveTemplate(template.draft, base && (await findBase(parts, caller, base, true)), template.id);
  if (!resolved.ok) throw violationsError(resolved.fault);
  return resolved.value;
}

/** What a definition became by patches may have a form that no request could have: it is read and checked like one. */
export function checkShape(definition: JsonObject, path: string): void {
  let message: ReturnType<typeof fromJson<typeof WorkflowDefinitionSchema>>;
  try {
    message = fromJson(WorkflowDefinitionSchema, definition);
  } catch (error) {
    const description = `with the overrides it is no definition any more: ${messageOf(error)}`;
    throw violationsError([{ field: path, reason: "OVERRIDE_INVALID", description }]);
  }
  const faults = findRuleFaults(contractValidator, WorkflowDefinitionSchema, message);
  if (faults.length > 0) throw violationsError(faults.map((fault) => ({ ...fault, field: `${path}.${fault.field}` })));
}

export async function findBase(parts: RpcParts, caller: Caller, base: JsonObject, deletedToo: boolean): Promise<ResolvedBase> {
  const reference = String(base["template"] ?? "");
  const number = Number(base["version"] ?? 0);
  const found = await parts.templates.getTemplate(caller, reference, { ...(number > 0 ? { version: number } : {}), showDeleted: deletedToo });
  if (!found) throw templateNotFound(reference);
  const { template, version } = found;
  if (!version) {
    if (number > 0) throw versionNotFound(reference, number);
    throw new AppError("TEMPLATE_NOT_PUBLISHED", `template ${template.name} has no published version to inherit from; publish it first`);
  }
  return { templateId: template.id, templateName: template.name, version: version.version, resolved: readResolved(version.content, version.resolved) };
}

function isSameBase(base: JsonObject, before: Json | undefined): boolean {
  return isJsonObject(before) && before["template"] === base["template"] && before["version"] === base["version"];
}

export function templateNotFound(reference: string): AppError {
  return new AppError("TEMPLATE_NOT_FOUND", `template ${reference} does not exist`, { metadata: { template: reference } });
}

export function versionNotFound(reference: string, version: number): AppError {
  return new AppError("TEMPLATE_VERSION_NOT_FOUND", `template ${reference} has no version ${version}`, {
    metadata: { template: reference, version: String(version) },
  });
}

/**
 * From one version of a template to another for a workflow that was made from it and perhaps changed since: a three-way merge
 * of what the old version gave, what the new one gives for the same parameters and overrides, and what the workflow says.
 * A workflow without changes of its own becomes what a new one made from the new version would be.
 */
import type { FieldViolation } from "../../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type MergeConflict, mergeDefinitions } from "../definition-merge.ts";
import type { FoldPlace } from "../expressions/fold-params.ts";
import { instantiate, type TemplateContent } from "./instantiate.ts";

export interface UpgradeRequest {
  readonly from: TemplateContent;
  readonly to: TemplateContent;
  /** What the workflow was made with. */
  readonly parameters: JsonObject;
  readonly overrides: readonly Json[];
  /** Values for parameters of the new version, over those. */
  readonly given: JsonObject;
  /** What the workflow says now. */
  readonly definition: JsonObject;
  /** The one form of equal definitions: the stored one went through it. */
  readonly normalize: (definition: JsonObject) => JsonObject;
  /** As for `instantiate`. */
  readonly place?: FoldPlace;
}

export interface Upgrade {
  /** Merged; where there are conflicts the workflow's side is kept. */
  readonly definition: JsonObject;
  readonly conflicts: readonly MergeConflict[];
  /** Required by the new version, without a value or default. Nothing is merged then. */
  readonly missingParameters: readonly string[];
  /** Lineage of the result. */
  readonly parameters: JsonObject;
  readonly overrides: readonly Json[];
}

/** Fails with PARAMETERS_INVALID where the values do not fit the new version for another reason than being absent. */
export function upgrade(request: UpgradeRequest): Result<Upgrade, readonly FieldViolation[]> {
  const { from, to, definition, normalize, overrides, place } = request;
  const parameters = { ...stillKnown(request), ...request.given };
  const made = instantiate(to, parameters, overrides, place);
  if (made.ok) {
    const base = instantiate(from, request.parameters, overrides, place);
    if (!base.ok) return base;
    const merged = mergeDefinitions(normalize(base.value.definition), normalize(made.value.definition), definition);
    return ok({ ...merged, missingParameters: [], parameters: made.value.parameters, overrides });
  }
  const missing = missingOf(made.fault);
  if (missing.length > 0) return ok({ definition, conflicts: [], missingParameters: missing, parameters: request.parameters, overrides });
  // Overrides that have no place in the new version are changes of the workflow like any other.
  if (overrides.length > 0 && made.fault.every(({ reason }) => reason === "OVERRIDE_INVALID")) return upgrade({ ...request, overrides: [] });
  return fail(made.fault);
}

/** The workflow's values without those of parameters that the new version has no more. */
function stillKnown({ from, to, parameters }: UpgradeRequest): JsonObject {
  const [old, now] = [propertiesOf(from), propertiesOf(to)];
  return Object.fromEntries(Object.entries(parameters).filter(([name]) => Object.hasOwn(now, name) || !Object.hasOwn(old, name)));
}

function propertiesOf({ parametersSchema }: TemplateContent): JsonObject {
  const { properties } = parametersSchema;
  return isJsonObject(properties) ? properties : {};
}

/** Names, when absent values are all that is wrong. */
function missingOf(violations: readonly FieldViolation[]): string[] {
  const absent = violations.filter(({ reason, description }) => reason === "PARAMETERS_INVALID" && description === "is required");
  return absent.length === violations.length ? absent.map(({ field }) => field.replace(/^parameters\./, "")) : [];
}

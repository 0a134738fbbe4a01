/**
 * Changes to the steps of a definition, by name, one after the other: what a template does to its base and a workflow to its
 * template. Overrides of different steps of which none holds the other may come in any order; those of one step may not.
 */
import type { FieldViolation } from "../../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { commonFields } from "../parse-step.ts";
import { mergePatch } from "./merge-patch.ts";
import { nameOf, rewriteHeld, stepsOf } from "./walk-steps.ts";

/** The definition with all of `overrides` (proto JSON of StepOverride) applied. The first one that does not fit is reported at `path`. */
export function applyOverrides(definition: JsonObject, overrides: readonly Json[], path = "overrides"): Result<JsonObject, readonly FieldViolation[]> {
  let changed = definition;
  for (const [index, override] of overrides.entries()) {
    const applied = applyOne(changed, override, `${path}[${index}]`);
    if (!applied.ok) return applied;
    changed = applied.value;
  }
  return ok(changed);
}

function applyOne(definition: JsonObject, override: Json, path: string): Result<JsonObject, readonly FieldViolation[]> {
  if (!isJsonObject(override)) return refuse(path, "must be an override");
  const step = String(override["step"] ?? "");
  const present = stepsOf(definition);
  const found = present.find(({ name }) => name === step);
  if (!found) {
    const known = present.map(({ name }) => name).join(", ") || "none";
    return refuse(`${path}.step`, `there is no step "${step}" to change; the steps are ${known}`);
  }
  const made = replacementOf(override, found.step, path);
  if (!made.ok) return made;
  const steps = Array.isArray(definition["steps"]) ? definition["steps"] : [];
  const next = { ...definition, steps: replaceIn(steps, step, made.value) ?? steps };
  const doubled = firstDouble(next);
  return doubled === undefined ? ok(next) : refuse(path, `there is a step "${doubled}" already; names are unique in a whole definition, in any case`);
}

/** What stands in the step's place afterwards. */
function replacementOf(override: JsonObject, step: JsonObject, path: string): Result<readonly Json[], readonly FieldViolation[]> {
  if (isJsonObject(override["patch"])) {
    const patched = mergePatch(step, override["patch"]) as JsonObject;
    if (nameOf(patched) !== nameOf(step)) return refuse(`${path}.patch.name`, "a patch does not rename a step; use replace");
    const kinds = Object.keys(patched).filter((key) => !commonFields.has(key));
    if (kinds.length === 1) return ok([patched]);
    const advice = kinds.length === 0 ? "leaves the step without a type" : `gives the step several types (${kinds.join(", ")}); set the old one to null`;
    return refuse(`${path}.patch`, advice);
  }
  if (isJsonObject(override["replace"])) return ok([override["replace"]]);
  if (override["remove"] === true) return ok([]);
  if (isJsonObject(override["insert_before"])) return ok([override["insert_before"], step]);
  if (isJsonObject(override["insert_after"])) return ok([step, override["insert_after"]]);
  return refuse(path, "needs one of patch, replace, remove, insert_before, insert_after");
}

/** The list with the step's replacement in it, at whatever depth; undefined when it is not there. */
function replaceIn(steps: readonly Json[], name: string, replacement: readonly Json[]): Json[] | undefined {
  for (const [index, step] of steps.entries()) {
    if (!isJsonObject(step)) continue;
    if (nameOf(step) === name) return [...steps.slice(0, index), ...replacement, ...steps.slice(index + 1)];
    let found = false;
    const changed = rewriteHeld(step, (held) => {
      const inside = found ? undefined : replaceIn(held, name, replacement);
      found ||= inside !== undefined;
      return inside ?? held;
    });
    if (found) return [...steps.slice(0, index), changed, ...steps.slice(index + 1)];
  }
  return undefined;
}

function firstDouble(definition: JsonObject): string | undefined {
  const seen = new Set<string>();
  for (const { name } of stepsOf(definition)) {
    if (seen.has(name.toLowerCase())) return name;
    seen.add(name.toLowerCase());
  }
  return undefined;
}

function refuse(field: string, description: string): Result<never, readonly FieldViolation[]> {
  return fail([{ field, reason: "OVERRIDE_INVALID", description }]);
}

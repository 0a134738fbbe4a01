/**
 * Which workflows a definition runs as children, read from its JSON, and the same definition with each of them pinned to a
 * revision: what a saved definition means must not change when the other workflow does.
 */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { nameOf, rewriteHeld, stepsOf } from "./templates/walk-steps.ts";

export interface ChildReference {
  /** Name of the step. */
  readonly step: string;
  /** Proto path of its `sub_workflow`, from the definition. */
  readonly path: string;
  /** Id or name. */
  readonly workflow: string;
  /** 0: the active one. */
  readonly revision: number;
  /** What the step declares itself to be; a child with a point of no return fits only some. */
  readonly kind: string;
}

export interface ChildPin {
  readonly workflowId: string;
  readonly revision: number;
}

const type = "sub_workflow";

export function childReferences(definition: JsonObject): ChildReference[] {
  return stepsOf(definition).flatMap(({ name, step, path }) => {
    const config = step[type];
    if (!isJsonObject(config)) return [];
    const kind = isJsonObject(step["compensation"]) ? step["compensation"]["kind"] : undefined;
    return [
      {
        ...{ step: name, path: `${path}.${type}`, workflow: String(config["workflow"] ?? ""), revision: Number(config["revision"] ?? 0) },
        kind: typeof kind === "string" ? kind : "",
      },
    ];
  });
}

/** One of its own steps is a point of no return. */
export function holdsPivot(definition: JsonObject): boolean {
  return stepsOf(definition).some(({ step }) => isJsonObject(step["compensation"]) && step["compensation"]["kind"] === "COMPENSATION_KIND_PIVOT");
}

/** `pins` by step name. */
export function pinChildReferences(definition: JsonObject, pins: ReadonlyMap<string, ChildPin>): JsonObject {
  const pinned = (steps: Json[]): Json[] => steps.map((step) => (isJsonObject(step) ? pinStep(rewriteHeld(step, pinned), pins) : step));
  return Array.isArray(definition["steps"]) && pins.size > 0 ? { ...definition, steps: pinned(definition["steps"]) } : definition;
}

function pinStep(step: JsonObject, pins: ReadonlyMap<string, ChildPin>): JsonObject {
  const pin = pins.get(nameOf(step));
  const config = step[type];
  return pin && isJsonObject(config) ? { ...step, [type]: { ...config, workflow: pin.workflowId, revision: pin.revision } } : step;
}

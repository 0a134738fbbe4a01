/**
 * Walking the JSON of a definition: which steps it has, where they stand, and rewriting the lists they stand in. Works on what
 * an author wrote, whether or not it parses; names are unique in a whole definition, so a name is an address.
 */
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { commonFields } from "../parse-step.ts";

export interface PlacedStep {
  readonly name: string;
  readonly step: JsonObject;
  /** Proto path from the definition: `steps[2].conditional.cases[0].steps[1]`. */
  readonly path: string;
  /** Name of the step that holds it; empty at the top. */
  readonly parent: string;
  /** Which list of its parent, cases and branches by name: `conditional.cases[large].steps`; `steps` at the top. */
  readonly list: string;
  readonly index: number;
}

/** Name of the oneof field that says what a step does, or undefined. */
export function kindOf(step: JsonObject): string | undefined {
  return Object.keys(step).find((key) => !commonFields.has(key));
}

export function nameOf(step: Json | undefined): string {
  return isJsonObject(step) && typeof step["name"] === "string" ? step["name"] : "";
}

/** Every named step, nested ones too, in the order of the definition. */
export function stepsOf(definition: JsonObject): PlacedStep[] {
  const found: PlacedStep[] = [];
  const walk = (steps: Json | undefined, path: string, parent: string, list: string): void => {
    if (!Array.isArray(steps)) return;
    steps.forEach((step, index) => {
      if (!isJsonObject(step)) return;
      const at = `${path}[${index}]`;
      found.push({ name: nameOf(step), step, path: at, parent, list, index });
      rewriteHeld(step, (held, place) => {
        walk(held, `${at}.${place.path}`, nameOf(step), place.name);
        return held;
      });
    });
  };
  walk(definition["steps"], "steps", "", "steps");
  return found;
}

/** The step without the steps it holds. */
export function withoutHeld(step: JsonObject): JsonObject {
  return rewriteHeld(step, () => []);
}

export interface HeldPlace {
  /** `conditional.cases[0].steps`. */
  readonly path: string;
  /** The same by name: `conditional.cases[large].steps`. */
  readonly name: string;
}

/** A copy of the step in which each list of steps it holds is what `change` makes of it. */
export function rewriteHeld(step: JsonObject, change: (steps: Json[], place: HeldPlace) => Json[]): JsonObject {
  const rewritten: [string, Json][] = Object.entries(step).map(([key, value]) => {
    if (!isJsonObject(value)) return [key, value];
    switch (key) {
      case "conditional":
        return [key, rewriteMembers(rewriteList(value, "cases", "conditional.cases", change), { else_steps: "conditional.else_steps" }, change)];
      case "parallel":
        return [key, rewriteList(value, "branches", "parallel.branches", change)];
      case "for_each":
        return [key, rewriteMembers(value, { steps: "for_each.steps" }, change)];
      case "on_error":
        return [key, rewriteList(value, "catches", "on_error.catches", change)];
      default:
        return [key, value];
    }
  });
  return Object.fromEntries(rewritten);
}

type Change = (steps: Json[], place: HeldPlace) => Json[];

/** The `steps` of each item of a list of cases, branches or catches. */
function rewriteList(holder: JsonObject, field: string, path: string, change: Change): JsonObject {
  const items = holder[field];
  if (!Array.isArray(items)) return holder;
  const rewritten = items.map((item, index) => {
    if (!isJsonObject(item) || !Array.isArray(item["steps"])) return item;
    return { ...item, steps: change(item["steps"], { path: `${path}[${index}].steps`, name: `${path}[${nameOf(item) || index}].steps` }) };
  });
  return { ...holder, [field]: rewritten };
}

function rewriteMembers(holder: JsonObject, places: Readonly<Record<string, string>>, change: Change): JsonObject {
  const changed = { ...holder };
  for (const [field, path] of Object.entries(places)) {
    const steps = holder[field];
    if (Array.isArray(steps)) changed[field] = change(steps, { path, name: path });
  }
  return changed;
}

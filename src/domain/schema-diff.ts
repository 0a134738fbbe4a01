/** What changed between two JSON Schemas, and whether who sends (or reads) such values has to change too. */
import { canonicalJson, isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import type { DefinitionChange } from "./definition-change.ts";
import { itemPath, memberPath } from "./definition-tree.ts";

/** `input` is sent by callers, `parameters` too but with defaults filled in, `output` is read by them. */
export type SchemaUse = "input" | "parameters" | "output";

const annotations: ReadonlySet<string> = new Set([
  "title",
  "description",
  "default",
  "examples",
  "$comment",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$schema",
  "$id",
]);
const lowerBounds: ReadonlySet<string> = new Set(["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"]);
const upperBounds: ReadonlySet<string> = new Set(["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"]);

/** Either side may be absent: anything goes. */
export function diffSchema(path: string, before: JsonObject | undefined, after: JsonObject | undefined, use: SchemaUse): DefinitionChange[] {
  const changes: DefinitionChange[] = [];
  compare(path, before, after, use, changes);
  return changes;
}

function compare(path: string, before: JsonObject | undefined, after: JsonObject | undefined, use: SchemaUse, changes: DefinitionChange[]): void {
  if (!before || !after) {
    if (!before && !after) return;
    const [narrow, wide] = use === "output" ? [before, after] : [after, before];
    changes.push({
      path,
      kind: before ? "removed" : "added",
      ...(before ? { before } : {}),
      ...(after ? { after } : {}),
      breaking: wide === undefined && restricts(narrow, use),
    });
    return;
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [old, now] = [before[key], after[key]];
    if (old !== undefined && now !== undefined && canonicalJson(old) === canonicalJson(now)) continue;
    const at = memberPath(path, key);
    if (key === "properties" && (isJsonObject(old) || old === undefined) && (isJsonObject(now) || now === undefined)) {
      compareProperties(at, before, after, use, changes);
    } else if (key === "required" && (Array.isArray(old) || old === undefined) && (Array.isArray(now) || now === undefined)) {
      compareRequired(at, before, after, use, changes);
    } else if (key === "items" && isJsonObject(old) && isJsonObject(now)) {
      compare(at, old, now, use, changes);
    } else {
      const breaking = !annotations.has(key) && (use === "output" ? narrows(key, now, old) : narrows(key, old, now));
      changes.push({
        path: at,
        kind: old === undefined ? "added" : now === undefined ? "removed" : "changed",
        ...(old === undefined ? {} : { before: old }),
        ...(now === undefined ? {} : { after: now }),
        breaking,
      });
    }
  }
}

function compareProperties(path: string, before: JsonObject, after: JsonObject, use: SchemaUse, changes: DefinitionChange[]): void {
  const [old, now] = [propertiesOf(before), propertiesOf(after)];
  for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
    const [was, is] = [own(old, name), own(now, name)];
    const at = memberPath(path, name);
    if (was !== undefined && is !== undefined) {
      if (canonicalJson(was) === canonicalJson(is)) continue;
      if (isJsonObject(was) && isJsonObject(is)) compare(at, was, is, use, changes);
      else changes.push({ path: at, kind: "changed", before: was, after: is, breaking: true });
    } else if (was === undefined) {
      changes.push({ path: at, kind: "added", after: is as Json, breaking: use !== "output" && isNeeded(after, name, use) });
    } else {
      changes.push({ path: at, kind: "removed", before: was, breaking: use === "output" || after["additionalProperties"] === false });
    }
  }
}

/** Names that stand on both sides; a property that is new or gone tells of it itself. */
function compareRequired(path: string, before: JsonObject, after: JsonObject, use: SchemaUse, changes: DefinitionChange[]): void {
  const [old, now] = [requiredOf(before), requiredOf(after)];
  const onBothSides = (name: string): boolean => (own(propertiesOf(before), name) === undefined) === (own(propertiesOf(after), name) === undefined);
  for (const name of now) {
    if (!old.has(name) && onBothSides(name))
      changes.push({ path: itemPath(path, name), kind: "added", after: name, breaking: use !== "output" && isNeeded(after, name, use) });
  }
  for (const name of old) {
    if (!now.has(name) && onBothSides(name)) changes.push({ path: itemPath(path, name), kind: "removed", before: name, breaking: use === "output" });
  }
}

/** Whether a keyword refuses values now that it took before. Keywords nobody can compare count as narrower. */
function narrows(key: string, before: Json | undefined, after: Json | undefined): boolean {
  if (after === undefined) return false;
  if (key === "additionalProperties" && after === true) return false;
  if (before === undefined) return true;
  if (lowerBounds.has(key) && typeof before === "number" && typeof after === "number") return after > before;
  if (upperBounds.has(key) && typeof before === "number" && typeof after === "number") return after < before;
  if (key === "type" || key === "enum") {
    const now = new Set(asList(after).map(canonicalJson));
    if (key === "type" && now.has('"number"')) now.add('"integer"');
    return asList(before).some((item) => !now.has(canonicalJson(item)));
  }
  return true;
}

/** Whether a schema that was not there before can refuse anything. */
function restricts(schema: JsonObject | undefined, use: SchemaUse): boolean {
  if (!schema) return false;
  return Object.entries(schema).some(([key, value]) => {
    if (annotations.has(key) || (key === "type" && value === "object") || (key === "additionalProperties" && value === true)) return false;
    if (key === "required") return [...requiredOf(schema)].some((name) => isNeeded(schema, name, use));
    if (key === "properties")
      return Object.values(propertiesOf(schema)).some((property) => isJsonObject(property) && Object.keys(property).some((inner) => !annotations.has(inner)));
    return true;
  });
}

function isNeeded(schema: JsonObject, name: string, use: SchemaUse): boolean {
  if (!requiredOf(schema).has(name)) return false;
  const property = own(propertiesOf(schema), name);
  return use !== "parameters" || !isJsonObject(property) || !Object.hasOwn(property, "default");
}

function requiredOf(schema: JsonObject): ReadonlySet<string> {
  const required = schema["required"];
  return new Set(Array.isArray(required) ? required.filter((name): name is string => typeof name === "string") : []);
}

function propertiesOf(schema: JsonObject): JsonObject {
  return isJsonObject(schema["properties"]) ? schema["properties"] : {};
}

function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function asList(value: Json): readonly Json[] {
  return Array.isArray(value) ? value : [value];
}

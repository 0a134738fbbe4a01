/**
 * Free JSON, between plain values and google.protobuf.Value. Fields of type Struct need nothing from here: in generated
 * messages they are plain objects already. Values are finite and at most 32 levels deep; the edge and the engine see to that.
 */
import { fromJson, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";

/** The Value of a JSON value; undefined (absent) stays undefined, null becomes a Value that holds null. */
export function valueFromJson(json: Json): Value;
export function valueFromJson(json: Json | undefined): Value | undefined;
export function valueFromJson(json: Json | undefined): Value | undefined {
  return json === undefined ? undefined : fromJson(ValueSchema, json);
}

/** The JSON value in a Value; undefined stays undefined, a Value without content reads as null. */
export function jsonFromValue(value: Value): Json;
export function jsonFromValue(value: Value | undefined): Json | undefined;
export function jsonFromValue(value: Value | undefined): Json | undefined {
  if (value === undefined) return undefined;
  return value.kind.case === undefined ? null : (toJson(ValueSchema, value) as Json);
}

/** For a Struct field whose stored value may be any JSON: the object, or undefined for everything else. */
export function structFromJson(json: Json | undefined): JsonObject | undefined {
  return isJsonObject(json) ? json : undefined;
}

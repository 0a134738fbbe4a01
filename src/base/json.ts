/**
 * JSON values and the one place that decides which of them may be stored. PostgreSQL refuses NUL and lone
 * surrogates in text, and deep nesting overflows recursive encoders, so such values never reach a batch.
 */
import { limits } from "./limits.ts";

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** Why a value cannot be stored, and where it stands (`a.b[2]`, empty for the value itself). */
export interface JsonFault {
  readonly path: string;
  readonly problem: string;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The first reason why `value` cannot be stored, or undefined. Walks at most `depthMax` levels. */
export function findJsonFault(value: unknown, depthMax: number = limits.jsonDepthMax, path = ""): JsonFault | undefined {
  switch (typeof value) {
    case "string":
      return textFault(value, path);
    case "number":
      return Number.isFinite(value) ? undefined : { path, problem: "is not a finite number" };
    case "boolean":
      return undefined;
    case "object":
      break;
    default:
      return { path, problem: `is not a JSON value (${typeof value})` };
  }
  if (value === null) return undefined;
  if (depthMax <= 0) return { path, problem: `is nested deeper than ${limits.jsonDepthMax} levels` };
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const fault = findJsonFault(value[index], depthMax - 1, `${path}[${index}]`);
      if (fault) return fault;
    }
    return undefined;
  }
  for (const key of Object.keys(value)) {
    const at = path === "" ? key : `${path}.${key}`;
    const fault = textFault(key, at) ?? findJsonFault((value as JsonObject)[key], depthMax - 1, at);
    if (fault) return fault;
  }
  return undefined;
}

function textFault(text: string, path: string): JsonFault | undefined {
  if (text.includes("\u0000")) return { path, problem: "contains a NUL character (U+0000)" };
  if (!text.isWellFormed()) return { path, problem: "contains half of a surrogate pair" };
  return undefined;
}

/** The same value with every NUL and half surrogate pair replaced (U+FFFD): for texts from outside that may not fail a write. */
export function storable(value: Json): Json {
  if (typeof value === "string") return value.toWellFormed().replaceAll("\0", "\ufffd");
  if (Array.isArray(value)) return value.map(storable);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [storable(key), storable(member)]));
}

/** UTF-8 bytes that `value` needs as JSON text. */
export function jsonBytes(value: Json): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/**
 * Text that is equal exactly for equal values: object keys in code-unit order. Used for fingerprints only;
 * stored values keep the order in which their author wrote them.
 */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (!isJsonObject(value)) return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] as Json)}`);
  return `{${members.join(",")}}`;
}

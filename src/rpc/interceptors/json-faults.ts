/**
 * Says where a JSON request does not fit its message: unknown fields, wrong types, unknown enum values, integers that
 * JavaScript would round. The decoder of protobuf-es finds most of these too but cannot say where, so this walk runs
 * only after it refused (or when a long number makes a closer look necessary).
 */
import { type DescEnum, type DescField, type DescMessage, fromJson, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import type { FieldViolation } from "../../base/errors.ts";
import { joined, violationsMax } from "./message-faults.ts";

/** Stands in parsed JSON where an integer stood that a double cannot hold. */
export class UnsafeInteger {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

const fieldsOfMessage = new WeakMap<DescMessage, ReadonlyMap<string, DescField>>();

/** The faults of `json` as a message of type `desc`, at most `violationsMax`, with proto paths. */
export function findJsonFieldFaults(desc: DescMessage, json: unknown, path = ""): FieldViolation[] {
  const faults: FieldViolation[] = [];
  walkMessage(desc, json, path, faults);
  return faults;
}

function walkMessage(desc: DescMessage, json: unknown, path: string, faults: FieldViolation[]): void {
  if (faults.length >= violationsMax) return;
  if (isWellKnown(desc)) return walkWellKnown(desc, json, path, faults);
  if (!isObject(json)) return add(faults, path, `must be an object (${desc.name}), not ${kindOf(json)}`);
  const fields = fieldsOf(desc);
  const chosen = new Map<string, string>();
  for (const [key, value] of Object.entries(json)) {
    const field = fields.get(key);
    if (!field) {
      add(faults, joined(path, key), `is not a field of ${desc.typeName}, which has ${desc.fields.map((known) => known.name).join(", ") || "no fields"}`);
      continue;
    }
    const at = joined(path, field.name);
    if (field.oneof && value !== null) {
      const before = chosen.get(field.oneof.name);
      if (before) add(faults, at, `cannot stand beside ${before}: only one of ${field.oneof.fields.map((member) => member.name).join(", ")} may be set`);
      chosen.set(field.oneof.name, field.name);
    }
    walkField(field, value, at, faults);
  }
}

function walkField(field: DescField, value: unknown, path: string, faults: FieldViolation[]): void {
  if (value === null) return; // null stands for "not set"
  switch (field.fieldKind) {
    case "list":
      if (!Array.isArray(value)) return add(faults, path, `must be a list, not ${kindOf(value)}`);
      for (const [index, item] of value.entries()) walkSingle(field, item, `${path}[${index}]`, faults);
      return;
    case "map":
      if (!isObject(value)) return add(faults, path, `must be an object, not ${kindOf(value)}`);
      for (const [key, item] of Object.entries(value)) walkSingle(field, item, `${path}[${JSON.stringify(key)}]`, faults);
      return;
    default:
      walkSingle(field, value, path, faults);
  }
}

function walkSingle(field: DescField, value: unknown, path: string, faults: FieldViolation[]): void {
  if (field.message) return walkMessage(field.message, value, path, faults);
  if (value instanceof UnsafeInteger) return add(faults, path, roundedText(value));
  if (field.enum) return walkEnum(field.enum, value, path, faults);
  const wanted = scalarFault(field.scalar as ScalarType, value);
  if (wanted) add(faults, path, `must be ${wanted}, not ${kindOf(value)}`);
}

function walkEnum(desc: DescEnum, value: unknown, path: string, faults: FieldViolation[]): void {
  if (typeof value === "number" && Number.isInteger(value)) return;
  if (typeof value === "string" && desc.values.some((known) => known.name === value)) return;
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 100)) : kindOf(value);
  add(faults, path, `must be one of ${desc.values.map((known) => known.name).join(", ")}, not ${shown}`);
}

/** What a scalar should be, when `value` is not that. */
function scalarFault(scalar: ScalarType, value: unknown): string | undefined {
  switch (scalar) {
    case ScalarType.STRING:
      return typeof value === "string" ? undefined : "text";
    case ScalarType.BOOL:
      return typeof value === "boolean" ? undefined : "true or false";
    case ScalarType.BYTES:
      return typeof value === "string" && /^[A-Za-z0-9+/_-]*={0,2}$/.test(value) ? undefined : "base64 text";
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      if (typeof value === "number") return undefined;
      return typeof value === "string" && value.trim() !== "" && (!Number.isNaN(Number(value)) || value === "NaN") ? undefined : "a number";
    default: {
      const text = typeof value === "number" ? String(value) : value;
      return typeof text === "string" && /^-?\d{1,20}(\.0+)?$/.test(text) && inRange(scalar, BigInt(text.split(".")[0] as string))
        ? undefined
        : rangeOf(scalar);
    }
  }
}

const unsigned = new Set([ScalarType.UINT32, ScalarType.FIXED32, ScalarType.UINT64, ScalarType.FIXED64]);
const wide = new Set([ScalarType.INT64, ScalarType.SINT64, ScalarType.SFIXED64, ScalarType.UINT64, ScalarType.FIXED64]);

function inRange(scalar: ScalarType, value: bigint): boolean {
  const bits = wide.has(scalar) ? 64 : 32;
  return unsigned.has(scalar) ? BigInt.asUintN(bits, value) === value : BigInt.asIntN(bits, value) === value;
}

function rangeOf(scalar: ScalarType): string {
  return `a whole number${unsigned.has(scalar) ? " ≥ 0" : ""} of ${wide.has(scalar) ? 64 : 32} bits`;
}

function isWellKnown(desc: DescMessage): boolean {
  return desc.typeName.startsWith("google.protobuf.") && desc.typeName !== "google.protobuf.Empty";
}

function walkWellKnown(desc: DescMessage, json: unknown, path: string, faults: FieldViolation[]): void {
  const rounded = findRounded(json, path);
  if (rounded) return add(faults, rounded.path, rounded.description);
  if (json === null && isWrapperDesc(desc)) return;
  try {
    fromJson(desc, json as JsonValue);
  } catch {
    add(faults, path, expectations[desc.name] ?? `is not a ${desc.typeName}`);
  }
}

const expectations: Record<string, string> = {
  Duration: 'must be a duration in seconds, for example "1.5s"',
  Timestamp: 'must be a time as in RFC 3339, for example "2030-01-31T12:00:00Z"',
  FieldMask: 'must be field names joined by commas, for example "displayName,labels"',
  Struct: "must be a JSON object, nested no deeper than 32 levels",
  Value: "must be a JSON value, nested no deeper than 32 levels",
  ListValue: "must be a JSON list, nested no deeper than 32 levels",
};

/** The first rounded integer inside free JSON. Nesting was bounded before the text was parsed. */
function findRounded(value: unknown, path: string): { path: string; description: string } | undefined {
  if (value instanceof UnsafeInteger) return { path, description: roundedText(value) };
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, member] of Object.entries(value)) {
    const found = findRounded(member, Array.isArray(value) ? `${path}[${key}]` : joined(path, key));
    if (found) return found;
  }
  return undefined;
}

function roundedText(value: UnsafeInteger): string {
  return `is an integer beyond ±(2^53 - 1), which JSON readers round; send it as text: "${value.text.slice(0, 40)}"`;
}

function fieldsOf(desc: DescMessage): ReadonlyMap<string, DescField> {
  let fields = fieldsOfMessage.get(desc);
  if (!fields) {
    fields = new Map(
      desc.fields.flatMap(
        (field) =>
          [
            [field.name, field],
            [field.jsonName, field],
          ] as const,
      ),
    );
    fieldsOfMessage.set(desc, fields);
  }
  return fields;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof UnsafeInteger);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (value instanceof UnsafeInteger) return "a number";
  switch (typeof value) {
    case "object":
      return "an object";
    case "string":
      return "text";
    case "boolean":
      return "a boolean";
    default:
      return `the number ${String(value)}`;
  }
}

function add(faults: FieldViolation[], field: string, description: string): void {
  if (faults.length < violationsMax) faults.push({ field, reason: "VALIDATION_FAILED", description });
}

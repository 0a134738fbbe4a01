/**
 * What a decoded message must not carry: fields that its schema does not know (a client newer or more hopeful than
 * this server would be ignored in silence), text that PostgreSQL cannot store, free JSON nested too deep, times and masks
 * that only binary can write (a duration of 2³¹ nanoseconds). Answers with proto paths. The fields worth a look are listed
 * once per message type.
 */
import { type DescField, type DescMessage, type Message, ScalarType, toJson } from "@bufbuild/protobuf";
import {
  type Duration,
  DurationSchema,
  type FieldMask,
  FieldMaskSchema,
  isWrapperDesc,
  type ListValue,
  ListValueSchema,
  type Timestamp,
  TimestampSchema,
  type Value,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import type { ErrorReason, FieldViolation } from "../../base/errors.ts";
import { findJsonFault } from "../../base/json.ts";

/** Enough to correct a request in one go; more would not fit the trailers. */
export const violationsMax = 20;

type Look = (value: unknown, path: string, faults: FieldViolation[]) => void;
interface LookedField {
  readonly field: DescField;
  readonly look: Look;
}

const looksOfMessage = new WeakMap<DescMessage, readonly LookedField[]>();

/** The faults of `message`, at most `violationsMax`; empty when there are none. */
export function findMessageFaults(desc: DescMessage, message: Message, path = ""): FieldViolation[] {
  const faults: FieldViolation[] = [];
  lookAtMessage(desc, message, path, faults);
  return faults;
}

function lookAtMessage(desc: DescMessage, message: Message, path: string, faults: FieldViolation[]): void {
  for (const unknown of message.$unknown ?? []) {
    add(faults, joined(path, `${unknown.no}`), `is field number ${unknown.no}, which ${desc.typeName} does not have`);
  }
  const record = message as unknown as Record<string, unknown>;
  for (const { field, look } of looksOf(desc)) {
    if (faults.length >= violationsMax) return;
    const value = field.oneof ? oneofValue(record[field.oneof.localName], field) : record[field.localName];
    if (value !== undefined) look(value, joined(path, field.name), faults);
  }
}

function oneofValue(oneof: unknown, field: DescField): unknown {
  const chosen = oneof as { case: string | undefined; value?: unknown };
  return chosen.case === field.localName ? chosen.value : undefined;
}

function looksOf(desc: DescMessage): readonly LookedField[] {
  let looks = looksOfMessage.get(desc);
  if (!looks) {
    looks = desc.fields.flatMap((field) => {
      const look = lookOf(field);
      return look ? [{ field, look }] : [];
    });
    looksOfMessage.set(desc, looks);
  }
  return looks;
}

function lookOf(field: DescField): Look | undefined {
  switch (field.fieldKind) {
    case "scalar":
      return lookOfScalar(field.scalar);
    case "message":
      // Outside a oneof a wrapper field holds the bare value.
      if (!field.oneof && isWrapperDesc(field.message)) return lookOfScalar(field.message.fields[0]?.scalar);
      return lookOfMessage(field.message);
    case "list": {
      const look = field.listKind === "message" ? lookOfMessage(field.message) : lookOfScalar(field.scalar);
      if (!look) return undefined;
      return (value, path, faults) => {
        for (const [index, element] of (value as unknown[]).entries()) look(element, `${path}[${index}]`, faults);
      };
    }
    case "map": {
      const look = field.mapKind === "message" ? lookOfMessage(field.message) : lookOfScalar(field.scalar);
      return (value, path, faults) => {
        for (const [key, element] of Object.entries(value as object)) {
          const at = `${path}[${JSON.stringify(key)}]`;
          lookAtJson(key, at, faults);
          look?.(element, at, faults);
        }
      };
    }
    default:
      return undefined;
  }
}

function lookOfScalar(scalar: ScalarType | undefined): Look | undefined {
  return scalar === ScalarType.STRING ? lookAtJson : undefined;
}

function lookOfMessage(desc: DescMessage): Look {
  switch (desc.typeName) {
    case "google.protobuf.Struct":
      return lookAtJson; // a field of this type holds plain JSON
    case "google.protobuf.Value":
      return (value, path, faults) => lookAtValue(() => toJson(ValueSchema, value as Value), path, faults);
    case "google.protobuf.ListValue":
      return (value, path, faults) => lookAtValue(() => toJson(ListValueSchema, value as ListValue), path, faults);
    case "google.protobuf.Duration":
      return (value, path, faults) => {
        const problem = "is not a duration: within 10,000 years, nanos below one second and of the sign of seconds";
        if (!hasJsonForm(() => toJson(DurationSchema, value as Duration))) add(faults, path, problem);
      };
    case "google.protobuf.Timestamp":
      return (value, path, faults) => {
        const problem = "is not a timestamp: the years 1 to 9999, nanos from 0 to 999,999,999";
        if (!hasJsonForm(() => toJson(TimestampSchema, value as Timestamp))) add(faults, path, problem);
      };
    case "google.protobuf.FieldMask":
      return (value, path, faults) => {
        const problem = "has a path that no field can have: paths are written as in the proto, in lower case with underscores";
        if (!hasJsonForm(() => toJson(FieldMaskSchema, value as FieldMask))) add(faults, path, problem, "FIELD_MASK_INVALID");
      };
    default:
      return (value, path, faults) => lookAtMessage(desc, value as Message, path, faults);
  }
}

function lookAtValue(read: () => unknown, path: string, faults: FieldViolation[]): void {
  let json: unknown;
  try {
    json = read();
  } catch {
    add(faults, path, "is not a JSON value (empty, or a number that is not finite)");
    return;
  }
  lookAtJson(json, path, faults);
}

function hasJsonForm(write: () => unknown): boolean {
  try {
    write();
    return true;
  } catch {
    return false;
  }
}

function lookAtJson(value: unknown, path: string, faults: FieldViolation[]): void {
  const fault = findJsonFault(value, undefined, path);
  if (fault) add(faults, fault.path, fault.problem);
}

function add(faults: FieldViolation[], field: string, description: string, reason: ErrorReason = "VALIDATION_FAILED"): void {
  if (faults.length < violationsMax) faults.push({ field, reason, description });
}

export function joined(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

/** Messages as plain values: what programs log, compare and hand on, instead of protobuf's own forms. */
import { type DescEnum, type DescField, type DescMessage, isMessage, type Message, type MessageShape, toJson } from "@bufbuild/protobuf";
import { reflect, type ScalarValue } from "@bufbuild/protobuf/reflect";
import { type Duration, durationMs, ListValueSchema, StructSchema, type Timestamp, timestampDate, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";

export type Plain = null | boolean | number | string | bigint | Date | Uint8Array | readonly Plain[] | { readonly [field: string]: Plain };
export type PlainObject = { readonly [field: string]: Plain };

/**
 * Fields that are set, by their camelCase names: Timestamp as Date, Duration in milliseconds, Struct and Value as the JSON they
 * hold, enum values as their names without prefix, 64-bit integers as numbers where those are exact, else as bigint. A oneof is
 * the field of it that is set.
 */
export function toPlain<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): PlainObject {
  return ofMessage(schema, message) as PlainObject;
}

/** A google.protobuf.Value as JSON; undefined where there is none. */
export function valueToPlain(value: Value | undefined): Plain | undefined {
  return value && (toJson(ValueSchema, value) as Plain);
}

/** `EXECUTION_STATE_RUNNING` is "RUNNING". A value that this version does not know is its number. */
export function enumName(desc: DescEnum, value: number): string {
  const name = desc.value[value]?.name ?? String(value);
  return desc.sharedPrefix && name.startsWith(desc.sharedPrefix.toUpperCase()) ? name.slice(desc.sharedPrefix.length) : name;
}

function ofMessage(schema: DescMessage, message: Message): Plain {
  switch (schema.typeName) {
    case "google.protobuf.Timestamp":
      return timestampDate(message as Timestamp);
    case "google.protobuf.Duration":
      return durationMs(message as Duration);
    case ValueSchema.typeName:
    case StructSchema.typeName:
    case ListValueSchema.typeName:
      return toJson(schema, message) as Plain;
    default: {
      const reflected = reflect(schema, message);
      const set = reflected.fields.filter((field) => reflected.isSet(field));
      return Object.fromEntries(set.map((field) => [field.localName, ofField(field, message)]));
    }
  }
}

function ofField(field: DescField, message: Message): Plain {
  const value = (field.oneof ? (message as unknown as Record<string, { value: unknown }>)[field.oneof.localName]?.value : rawOf(field, message)) as unknown;
  switch (field.fieldKind) {
    case "list":
      return (value as readonly unknown[]).map((item) => ofSingle(field.listKind === "message" ? field.message : field.enum, item));
    case "map":
      return Object.fromEntries(
        Object.entries(value as object).map(([key, item]) => [key, ofSingle(field.mapKind === "message" ? field.message : field.enum, item)]),
      );
    default:
      return ofSingle(field.message ?? field.enum, value);
  }
}

function rawOf(field: DescField, message: Message): unknown {
  return (message as unknown as Record<string, unknown>)[field.localName];
}

function ofSingle(desc: DescMessage | DescEnum | undefined, value: unknown): Plain {
  if (desc?.kind === "enum") return enumName(desc, value as number);
  // A field of type Struct is JSON already.
  if (desc) return isMessage(value) ? ofMessage(desc, value) : (value as Plain);
  return ofScalar(value as ScalarValue);
}

function ofScalar(value: ScalarValue): Plain {
  if (typeof value !== "bigint") return value;
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

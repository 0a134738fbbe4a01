/**
 * Values while an expression runs. JSON is used as it is, so data of any size enters for free: a JSON number is a
 * double, an array a list, an object a map with text keys. What JSON does not have is added: int (bigint), uint,
 * bytes, durations, timestamps, optionals, types, and maps with other keys (`Map`).
 */
import type { Json } from "../../base/json.ts";

export type Value = Json | bigint | Uint8Array | Boxed | ReadonlyMap<MapKey, Value> | readonly Value[] | ValueObject;
/** Keys of a `Map` made by an expression; uint and integral double keys are kept as int, to which they are equal. */
export type MapKey = string | bigint | boolean;
interface ValueObject {
  readonly [key: string]: Value;
}

/** Values that are not JSON and not native: told apart from a JSON object by this class. */
export abstract class Boxed {
  abstract readonly kind: "uint" | "duration" | "timestamp" | "optional" | "type";
}

export class Uint extends Boxed {
  readonly kind = "uint";
  readonly value: bigint;
  constructor(value: bigint) {
    super();
    this.value = value;
  }
}

export class Duration extends Boxed {
  readonly kind = "duration";
  readonly nanos: bigint;
  constructor(nanos: bigint) {
    super();
    this.nanos = nanos;
  }
}

export class Timestamp extends Boxed {
  readonly kind = "timestamp";
  /** Since 1970-01-01T00:00:00Z. */
  readonly nanos: bigint;
  constructor(nanos: bigint) {
    super();
    this.nanos = nanos;
  }
}

export class Optional extends Boxed {
  readonly kind = "optional";
  /** Undefined for `optional.none()`. */
  readonly value: Value | undefined;
  constructor(value: Value | undefined) {
    super();
    this.value = value;
  }
}
export const none = new Optional(undefined);

export class TypeName extends Boxed {
  readonly kind = "type";
  readonly name: string;
  constructor(name: string) {
    super();
    this.name = name;
  }
}

export type Kind = "null" | "bool" | "double" | "int" | "string" | "bytes" | "list" | "map" | Boxed["kind"];

export function kindOf(value: Value): Kind {
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "number":
      return "double";
    case "bigint":
      return "int";
    case "string":
      return "string";
  }
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  if (value instanceof Boxed) return value.kind;
  if (value instanceof Uint8Array) return "bytes";
  return "map";
}

/** Names that mean a type when no variable has them: `type(x) == string`. */
export const typeNames: ReadonlySet<string> = new Set([
  "bool",
  "double",
  "int",
  "uint",
  "string",
  "bytes",
  "list",
  "map",
  "null_type",
  "type",
  "optional_type",
  "google.protobuf.Duration",
  "google.protobuf.Timestamp",
]);

export function typeOf(value: Value): TypeName {
  const kind = kindOf(value);
  switch (kind) {
    case "null":
      return new TypeName("null_type");
    case "optional":
      return new TypeName("optional_type");
    case "duration":
      return new TypeName("google.protobuf.Duration");
    case "timestamp":
      return new TypeName("google.protobuf.Timestamp");
    default:
      return new TypeName(kind);
  }
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

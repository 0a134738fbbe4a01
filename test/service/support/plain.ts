/** A google.protobuf.Value as plain JSON. */
import { toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";

export function plain(value: Value | undefined): unknown {
  return value === undefined ? undefined : toJson(ValueSchema, value);
}

/** Which fields of a resource an update takes (contract, Update): those of the mask, the populated ones, or all. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { isFieldSet } from "@bufbuild/protobuf";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { AppError } from "../../base/errors.ts";

export interface MaskRules {
  /** Proto names of the fields that callers may change. */
  readonly writable: readonly string[];
  /** Taken for granted and ignored. */
  readonly outputOnly: readonly string[];
}

/** Proto names of the fields to take. @throws AppError FIELD_MASK_INVALID */
export function fieldsToUpdate<Desc extends DescMessage>(
  desc: Desc,
  changes: MessageShape<Desc>,
  mask: FieldMask | undefined,
  rules: MaskRules,
): ReadonlySet<string> {
  const paths = mask?.paths ?? [];
  if (paths.includes("*")) {
    if (paths.length > 1) throw invalid('"*" stands alone: it takes all fields', "*");
    return new Set(rules.writable);
  }
  if (paths.length === 0) {
    return new Set(desc.fields.filter((field) => rules.writable.includes(field.name) && isFieldSet(changes, field)).map(({ name }) => name));
  }
  for (const path of paths) {
    if (!rules.writable.includes(path) && !rules.outputOnly.includes(path))
      throw invalid(`${path.slice(0, 100)} is not a field that can be updated; use ${rules.writable.join(", ")} or "*"`, path);
  }
  return new Set(paths.filter((path) => rules.writable.includes(path)));
}

function invalid(description: string, path: string): AppError {
  return new AppError("FIELD_MASK_INVALID", `update_mask: ${description}`, {
    metadata: { path: path.slice(0, 100) },
    violations: [{ field: "update_mask", reason: "FIELD_MASK_INVALID", description }],
  });
}

/** How a step's result refers to a stored file (PayloadRef of the contract). */
import type { JsonObject } from "../base/json.ts";
import type { StepFile } from "./step-files.ts";

export function fileReference({ id, name, mediaType, sizeBytes, sha256 }: StepFile): JsonObject {
  return { blob_id: id, name, media_type: mediaType, size_bytes: sizeBytes, sha256 };
}

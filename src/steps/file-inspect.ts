/**
 * `validate` and `extract` over the bytes of a file; runs in a worker thread.
 */
import { createHash } from "node:crypto";
import type { JsonObject } from "../base/json.ts";
import { ok, type Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";
import { integerField, objectField } from "./config-fields.ts";
import { extractFrom, type Inspection } from "./file-extract.ts";
import { pixelProblem } from "./file-facts.ts";
import { readFileContent } from "./file-formats.ts";
import { structureOf } from "./file-structure.ts";
import { findViolations, needsDocument } from "./file-validate.ts";

/** `{media_type, size_bytes, sha256}` and either `violations` or what `extract` gives. */
export async function inspectFile(bytes: Buffer, config: JsonObject, inspection: Inspection): Promise<Result<JsonObject, Failure>> {
  const file = readFileContent(bytes);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const identity = { media_type: file.mediaType, size_bytes: bytes.length, sha256 };
  const rules = objectField(config, "validate");
  if (!rules) {
    const extracted = await extractFrom(inspection, objectField(config, "extract") ?? {}, file);
    return extracted.ok ? ok({ ...identity, ...extracted.value }) : extracted;
  }
  const pixelsMax = integerField(rules, "max_pixels");
  const problem = pixelsMax === undefined ? ok(undefined) : await pixelProblem(file, pixelsMax, inspection.readBinary);
  if (!problem.ok) return problem;
  const structure = needsDocument(rules) ? await structureOf(file, {}, inspection.readBinary) : undefined;
  if (structure && !structure.ok && structure.fault.name !== "SCHEMA") return structure;
  return ok({ ...identity, violations: await findViolations(rules, file, { sha256, pixelProblem: problem.value, structure }) });
}

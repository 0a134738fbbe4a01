/**
 * The `convert` and `optimize` operations of `file_process`: a worker thread makes a new file, which is stored for 7 days. The source
 * stays as it is. Result `{blob, media_type, size_bytes, sha256, saved_bytes}`; `saved_bytes` is below 0 when a conversion made it larger.
 */
import type { JsonObject } from "../base/json.ts";
import { failedWith, integerField, isSet, textField } from "./config-fields.ts";
import { checkDelimiter } from "./delimiter-field.ts";
import { fileReference } from "./file-reference.ts";
import type { OpenSource } from "./file-source.ts";
import { sizeOf } from "./files/file-order.ts";
import { findTarget, targetTypes } from "./files/media-types.ts";
import { isElementName } from "./files/xml-name.ts";
import type { Report } from "./report.ts";
import type { StepCall, StepOutcome, StepServices } from "./step-handler.ts";

export function checkFileConvert(convert: JsonObject, report: Report): void {
  const target = textField(convert, "to_media_type") ?? "";
  if (!target.includes("{{") && !findTarget(target)) report("convert.to_media_type", "VALIDATION_FAILED", `is not one of ${targetTypes.join(", ")}`);
  const charset = textField(convert, "charset");
  if (charset !== undefined && !isCharset(charset)) report("convert.charset", "VALIDATION_FAILED", "is not a character set like utf-8, iso-8859-1 or utf-16le");
  checkDelimiter(convert, "convert.delimiter", report);
  checkQuality(convert, "convert", report);
  const root = textField(convert, "root_element");
  if (root !== undefined && !isElementName(root)) report("convert.root_element", "VALIDATION_FAILED", "cannot be the name of an XML element");
}

export function checkFileOptimize(optimize: JsonObject, report: Report): void {
  for (const name of ["max_width", "max_height"]) {
    const pixels = integerField(optimize, name) ?? 1;
    if (pixels < 1 || pixels > 65_535) report(`optimize.${name}`, "LIMIT_EXCEEDED", "must be from 1 to 65535");
  }
  checkQuality(optimize, "optimize", report);
  const isForImages = ["max_width", "max_height", "quality"].some((name) => integerField(optimize, name) !== undefined) || optimize["keep_metadata"] === true;
  if (isForImages && (optimize["minify"] === true || optimize["gzip"] === true))
    report("optimize", "VALIDATION_FAILED", "minify and gzip are for texts; max_width, max_height, quality and keep_metadata are for images");
}

function checkQuality(options: JsonObject, path: string, report: Report): void {
  const quality = integerField(options, "quality") ?? 1;
  if (quality < 1 || quality > 100) report(`${path}.quality`, "LIMIT_EXCEEDED", "must be from 1 to 100");
}

function isCharset(name: string): boolean {
  try {
    return new TextDecoder(name).encoding !== "";
  } catch {
    return false;
  }
}

export async function rewriteFile(
  call: StepCall,
  services: StepServices,
  { order, name }: OpenSource,
  operation: { readonly kind: "convert" | "optimize"; readonly options: JsonObject },
): Promise<StepOutcome> {
  // Before it goes: bytes go with their memory.
  const sourceBytes = sizeOf(order);
  const done = await services.fileJobs.run({ ...operation, tenantId: call.tenantId, source: order, name }, call.signal);
  if (!done.ok) return failedWith(done.fault);
  if (done.value.kind !== "made") throw new Error(`${operation.kind} made no file`);
  const { file } = done.value;
  const { sizeBytes, sha256, mediaType } = file;
  const blob = fileReference(file);
  return { kind: "succeeded", result: { blob, media_type: mediaType, size_bytes: sizeBytes, sha256, saved_bytes: sourceBytes - sizeBytes } };
}

/** Whether any of the operations that make a file is configured. */
export function rewriteOf(config: JsonObject): { readonly kind: "convert" | "optimize"; readonly options: JsonObject } | undefined {
  for (const kind of ["convert", "optimize"] as const) if (isSet(config, kind)) return { kind, options: config[kind] as JsonObject };
  return undefined;
}

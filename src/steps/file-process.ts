/**
 * `file_process`: looks into a file, or makes another of it (`file-rewrite.ts`). `validate` gives `{valid, violations, media_type, size_bytes, sha256}`, `extract`
 * what its target says (`file-extract.ts`) beside `media_type`, `size_bytes` and `sha256`. The file itself is never changed.
 */
import { createHash } from "node:crypto";
import type { JsonObject } from "../base/json.ts";
import { ok } from "../base/result.ts";
import { failed, failedWith, integerField, isSet, objectField } from "./config-fields.ts";
import { checkFileExtract, extractFrom } from "./file-extract.ts";
import { pixelProblem } from "./file-facts.ts";
import { type FileContent, readFileContent } from "./file-formats.ts";
import { checkFileConvert, checkFileOptimize, rewriteFile, rewriteOf } from "./file-rewrite.ts";
import { checkFileSource, loadFile } from "./file-source.ts";
import { checkFileValidate, findViolations } from "./file-validate.ts";
import type { StepCall, StepHandler, StepOutcome, StepServices } from "./step-handler.ts";

export const fileProcess: StepHandler = {
  type: "file_process",
  nature: "effect",
  fields: {
    "source.blob_id": { as: "template" },
    "source.url": { as: "template" },
    "source.text": { as: "template" },
    "convert.to_media_type": { as: "template" },
    "extract.select": { as: "expression", adds: ["document"] },
  },
  startToCloseMs: 60_000,
  startToCloseMsMax: 86_400_000,
  naturalKind: () => "readonly",

  check(config, report) {
    checkFileSource(objectField(config, "source"), report);
    const validate = objectField(config, "validate");
    const extract = objectField(config, "extract");
    if (validate) checkFileValidate(validate, report);
    if (extract) checkFileExtract(extract, report);
    const convert = objectField(config, "convert");
    const optimize = objectField(config, "optimize");
    if (convert) checkFileConvert(convert, report);
    if (optimize) checkFileOptimize(optimize, report);
    if (!["validate", "extract", "convert", "optimize"].some((name) => isSet(config, name)))
      report("validate", "VALIDATION_FAILED", "give the operation: validate, extract, convert or optimize");
  },

  async run(call, services) {
    const source = await loadFile(call, services, objectField(call.config, "source") ?? {});
    if (!source.ok) return source.fault;
    const { bytes } = source.value;
    const rewrite = rewriteOf(call.config);
    if (rewrite) return rewriteFile(call, services, source.value, rewrite);
    const file = readFileContent(bytes);
    const identity = { media_type: file.mediaType, size_bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    const validate = objectField(call.config, "validate");
    return validate ? validateFile(call, services, validate, file, identity) : extractFile(call, services, file, identity);
  },
};

type Identity = { readonly media_type: string; readonly size_bytes: number; readonly sha256: string };

async function validateFile(call: StepCall, services: StepServices, rules: JsonObject, file: FileContent, identity: Identity): Promise<StepOutcome> {
  const pixelsMax = integerField(rules, "max_pixels");
  const problem = pixelsMax === undefined ? ok(undefined) : await pixelProblem(file, pixelsMax, { call, services });
  if (!problem.ok) return failedWith(problem.fault);
  const violations = await findViolations(rules, file, identity.sha256, problem.value);
  const result = { valid: violations.length === 0, violations, ...identity };
  if (result.valid || rules["report_only"] === true) return { kind: "succeeded", result };
  const [first] = violations as { message: string }[];
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  return failed("SCHEMA", `the file is not valid: ${first?.message}${more}`, result);
}

async function extractFile(call: StepCall, services: StepServices, file: FileContent, identity: Identity): Promise<StepOutcome> {
  const extracted = await extractFrom(call, services, objectField(call.config, "extract") ?? {}, file);
  return extracted.ok ? { kind: "succeeded", result: { ...identity, ...extracted.value } } : failedWith(extracted.fault);
}

/**
 * `file_process`: looks into a file, or makes another of it (`file-rewrite.ts`). `validate` gives `{valid, violations, media_type, size_bytes, sha256}`, `extract`
 * what its target says (`file-extract.ts`) beside `media_type`, `size_bytes` and `sha256`. The file itself is never changed.
 */
import type { JsonObject } from "../base/json.ts";
import { failed, failedWith, isSet, objectField } from "./config-fields.ts";
import { checkFileExtract } from "./file-extract.ts";
import { checkFileConvert, checkFileOptimize, rewriteFile, rewriteOf } from "./file-rewrite.ts";
import { checkFileSource, openSource } from "./file-source.ts";
import { checkFileValidate } from "./file-validate.ts";
import type { OrderSource } from "./files/file-order.ts";
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
    const opened = await openSource(call, services, objectField(call.config, "source") ?? {});
    if (!opened.ok) return opened.fault;
    const source = opened.value;
    try {
      const rewrite = rewriteOf(call.config);
      return rewrite ? await rewriteFile(call, services, source, rewrite) : await inspect(call, services, source.order);
    } finally {
      await source.close();
    }
  },
};

async function inspect(call: StepCall, services: StepServices, source: OrderSource): Promise<StepOutcome> {
  const { validate, extract } = call.config;
  const options = { ...(validate === undefined ? {} : { validate }), ...(extract === undefined ? {} : { extract }) };
  const select = isSet(objectField(call.config, "extract") ?? {}, "select") ? call.portable("extract.select") : undefined;
  const order = { tenantId: call.tenantId, kind: "inspect", options, source, ...(select ? { select } : {}) } as const;
  const done = await services.fileJobs.run(order, call.signal);
  if (!done.ok) return failedWith(done.fault);
  if (done.value.kind !== "facts") throw new Error("inspect made a file");
  const { facts } = done.value;
  const rules = objectField(call.config, "validate");
  return rules ? verdictOf(rules, facts) : { kind: "succeeded", result: facts };
}

function verdictOf(rules: JsonObject, inspected: JsonObject): StepOutcome {
  const { violations: found, ...identity } = inspected;
  const violations = Array.isArray(found) ? found : [];
  const result = { valid: violations.length === 0, violations, ...identity };
  if (result.valid || rules["report_only"] === true) return { kind: "succeeded", result };
  const [first] = violations as unknown as { message: string }[];
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  return failed("SCHEMA", `the file is not valid: ${first?.message}${more}`, result);
}

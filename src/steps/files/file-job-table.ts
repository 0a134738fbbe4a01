/** From a job to the code that does it. Runs in a worker thread; libraries are loaded when they are first needed. */
import { systemClock } from "../../base/clock.ts";
import type { Json, JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import type { PortableExpression } from "../../domain/expressions/portable-expression.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { delimiterField } from "../delimiter-field.ts";
import { readFileContent } from "../file-formats.ts";
import type { FileJob, FileJobOutcome } from "./file-job.ts";
import { unforeseen } from "./unforeseen.ts";

export async function doFileJob({ kind, options, bytes: given, select }: FileJob): Promise<FileJobOutcome> {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
  try {
    switch (kind) {
      case "convert":
        return await (await import("./convert.ts")).convertFile(bytes, options);
      case "optimize":
        return await (await import("./optimize.ts")).optimizeFile(readFileContent(bytes), options);
      case "inspect":
        return await inspectHere(bytes, options, select);
      case "entries":
        return await (await import("./archive.ts")).listEntries(bytes);
      case "text":
        return await (await import("./pdf-text.ts")).readPdfText(bytes);
      case "image":
        return await (await import("./image.ts")).describeImage(bytes);
      case "document":
        return await documentHere(bytes, options);
      case "workbook":
        return await describeWorkbook(bytes, options);
    }
  } catch (error) {
    return fail(unforeseen(error));
  }
}

async function inspectHere(bytes: Buffer, options: JsonObject, select: PortableExpression | undefined): Promise<FileJobOutcome> {
  // The pool ends the thread when the attempt ends: nobody else calls this off.
  const signal = new AbortController().signal;
  const expressions = select && (await import("../../domain/expressions/portable-expression.ts"));
  const evaluate = (extra: Readonly<Record<string, Json>>): Result<Json, Failure> =>
    expressions ? expressions.evaluatePortable(select, extra, systemClock.monotonic) : fail(failure("EXPRESSION", "there is no expression"));
  const { inspectFile } = await import("../file-inspect.ts");
  const inspected = await inspectFile(bytes, options, { evaluate, clock: systemClock, signal, readBinary: doFileJob });
  return inspected.ok ? ok({ kind: "facts", facts: inspected.value }) : inspected;
}

/** `{document}`: XLSX, XML, YAML, JSON or CSV as one value. */
async function documentHere(bytes: Buffer, options: JsonObject): Promise<FileJobOutcome> {
  const { readDocument } = await import("./read-document.ts");
  const document = await readDocument(readFileContent(bytes), { delimiter: delimiterField(options), hasHeader: options["no_header"] !== true });
  return document.ok ? ok({ kind: "facts", facts: { document: document.value } }) : document;
}

async function describeWorkbook(bytes: Buffer, options: JsonObject): Promise<FileJobOutcome> {
  const { readXlsx } = await import("./xlsx.ts");
  const workbook = await readXlsx(bytes, options["no_header"] !== true);
  if (!workbook.ok) return workbook;
  const { sheets, columns, rows } = workbook.value;
  return ok({ kind: "facts", facts: { sheets: [...sheets], columns, row_count: rows.length } });
}

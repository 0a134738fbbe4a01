/** From a job to the code that does it. Runs in a worker thread; libraries are loaded when they are first needed. */
import { systemClock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { JsonObject } from "../../base/json.ts";
import { fail, ok } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { delimiterField } from "../delimiter-field.ts";
import { readFileContent } from "../file-formats.ts";
import { inspectFile } from "../file-inspect.ts";
import { listEntries } from "./archive.ts";
import { convertFile } from "./convert.ts";
import type { FileJob, FileJobOutcome } from "./file-job.ts";
import { describeImage } from "./image.ts";
import { optimizeFile } from "./optimize.ts";
import { readPdfText } from "./pdf-text.ts";
import { readDocument } from "./read-document.ts";
import { readXlsx } from "./xlsx.ts";

export async function doFileJob({ kind, options, bytes: given }: FileJob): Promise<FileJobOutcome> {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
  try {
    switch (kind) {
      case "convert":
        return await convertFile(bytes, options);
      case "optimize":
        return await optimizeFile(readFileContent(bytes), options);
      case "inspect":
        return await inspectHere(bytes, options);
      case "entries":
        return await listEntries(bytes);
      case "text":
        return await readPdfText(bytes);
      case "image":
        return await describeImage(bytes);
      case "document":
        return await documentHere(bytes, options);
      case "workbook":
        return await describeWorkbook(bytes, options);
    }
  } catch (error) {
    return fail(unforeseen(error));
  }
}

async function inspectHere(bytes: Buffer, options: JsonObject): Promise<FileJobOutcome> {
  const evaluate = () => fail(failure("EXPRESSION", "expressions are not evaluated in a worker thread"));
  // The pool ends the thread when the attempt ends: nobody else calls this off.
  const signal = new AbortController().signal;
  const inspected = await inspectFile(bytes, options, { evaluate, clock: systemClock, signal, readBinary: doFileJob });
  return inspected.ok ? ok({ kind: "facts", facts: inspected.value }) : inspected;
}

/** `{document}`: XLSX, XML, YAML, JSON or CSV as one value. */
async function documentHere(bytes: Buffer, options: JsonObject): Promise<FileJobOutcome> {
  const document = await readDocument(readFileContent(bytes), { delimiter: delimiterField(options), hasHeader: options["no_header"] !== true });
  return document.ok ? ok({ kind: "facts", facts: { document: document.value } }) : document;
}

async function describeWorkbook(bytes: Buffer, options: JsonObject): Promise<FileJobOutcome> {
  const workbook = await readXlsx(bytes, options["no_header"] !== true);
  if (!workbook.ok) return workbook;
  const { sheets, columns, rows } = workbook.value;
  return ok({ kind: "facts", facts: { sheets: [...sheets], columns, row_count: rows.length } });
}

/** What a library throws is about the file: the same bytes would give the same again. */
function unforeseen(error: unknown): Failure {
  const message = messageOf(error).slice(0, 300);
  if (error instanceof RangeError && /call stack/i.test(message)) return failure("LIMIT.DEPTH", "the file is nested too deep");
  if (/pixel limit/i.test(message)) return failure("LIMIT.PIXELS", message);
  if (/timeout/i.test(message)) return failure("LIMIT.FILE", message);
  return failure("SCHEMA", `the file cannot be read: ${message}`);
}

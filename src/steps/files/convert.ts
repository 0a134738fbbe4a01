/** The `convert` job: a file in another format. What the source is, its bytes say; YAML and Markdown have no mark of their own. */
import type { Json, JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { isSet, textField } from "../config-fields.ts";
import { delimiterField } from "../delimiter-field.ts";
import { type FileContent, readFileContent, xlsxType } from "../file-formats.ts";
import { type FileJobOutcome, fileProduct } from "./file-job.ts";
import { convertImage, isImageType } from "./image.ts";
import { markdownToHtml } from "./markdown.ts";
import { type DocumentType, findTarget } from "./media-types.ts";
import { readDocument } from "./read-document.ts";
import { cellsOfDocument, unwrapList, writeCsv } from "./tables.ts";
import { writeXml } from "./xml-text.ts";
import { writeYaml } from "./yaml-text.ts";

export async function convertFile(bytes: Buffer, options: JsonObject): Promise<FileJobOutcome> {
  const target = findTarget(textField(options, "to_media_type") ?? "");
  if (!target) return fail(failure("SCHEMA", "to_media_type names no format that can be written"));
  const decoded = decode(bytes, textField(options, "charset"));
  if (!decoded.ok) return decoded;
  const file = decoded.value;
  const misfit = misfitOf(options, target);
  if (misfit) return fail(failure("SCHEMA", `${misfit} has no meaning for ${target}`));
  if (isImageType(target)) return isImageType(file.mediaType) ? await convertImage(bytes, target, options) : impossible(file, target);
  if (target === "text/html") {
    if (file.text === undefined || !["text/plain", "text/csv"].includes(file.mediaType)) return impossible(file, target);
    return ok(fileProduct(target, Buffer.from(markdownToHtml(file.text))));
  }
  const document = await documentFor(file, options, target);
  if (!document.ok) return document;
  const text = writeDocument(document.value, target, options);
  return text.ok ? ok(fileProduct(target, Buffer.from(text.value))) : text;
}

/** Options that are given but could change nothing. */
export function misfitOf(options: JsonObject, target: string): string | undefined {
  const isGiven = (name: string): boolean => isSet(options, name) && ![0, "", false].includes(options[name] as never);
  if (isGiven("quality") && (!isImageType(target) || target === "image/png")) return "quality";
  if (isGiven("root_element") && target !== "application/xml") return "root_element";
  if (isGiven("pretty") && !["application/json", "application/xml"].includes(target)) return "pretty";
  if (isImageType(target)) return ["charset", "delimiter", "no_header"].find(isGiven);
  return target === "text/html" ? ["delimiter", "no_header"].find(isGiven) : undefined;
}

function impossible({ mediaType, textProblem, jsonProblem }: FileContent, target: string): FileJobOutcome {
  const why = mediaType === "application/octet-stream" ? textProblem : jsonProblem;
  return fail(failure("SCHEMA", `${mediaType} cannot become ${target}${why ? `: ${why.message}` : ""}`));
}

function decode(bytes: Buffer, charset: string | undefined): Result<FileContent, Failure> {
  if (charset === undefined || /^utf-?8$/i.test(charset)) return ok(readFileContent(bytes));
  try {
    return ok(readFileContent(Buffer.from(new TextDecoder(charset, { fatal: true }).decode(bytes))));
  } catch {
    return fail(failure("SCHEMA", `the file is not text in ${charset}`));
  }
}

async function documentFor(file: FileContent, options: JsonObject, target: DocumentType): Promise<Result<Json, Failure>> {
  const { mediaType, text, json } = file;
  const delimiter = target === "text/csv" ? undefined : delimiterField(options);
  const isReadable = json !== undefined || (text !== undefined && (!file.jsonProblem || delimiter !== undefined));
  const isWorkbook = mediaType === xlsxType && (target === "text/csv" || target === "application/json");
  if (!isReadable && !isWorkbook) return impossible(file, target) as Result<never, Failure>;
  return await readDocument(file, { delimiter, hasHeader: options["no_header"] !== true });
}

function writeDocument(document: Json, target: DocumentType, options: JsonObject): Result<string, Failure> {
  const pretty = options["pretty"] === true;
  switch (target) {
    case "application/json":
      return ok(`${JSON.stringify(document, null, pretty ? 2 : 0)}\n`);
    case "application/x-ndjson":
      return ok((Array.isArray(document) ? document : [document]).map((line) => `${JSON.stringify(line)}\n`).join(""));
    case "application/yaml":
      return ok(writeYaml(document));
    case "application/xml":
      return writeXml(document, { root: textField(options, "root_element") ?? "root", pretty });
    case "text/csv": {
      const cells = cellsOfDocument(unwrapList(document));
      if (!cells.ok) return cells;
      return ok(writeCsv(cells.value, { delimiter: delimiterField(options) ?? ",", hasHeader: options["no_header"] !== true, isExport: true }));
    }
  }
}

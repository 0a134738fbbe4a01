/** The `convert` job: a file in another format. What the source is, its bytes say; YAML and Markdown have no mark of their own. */
import type { Json, JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { isSet, textField } from "../config-fields.ts";
import { readCsv } from "../csv-table.ts";
import { type FileContent, readFileContent } from "../file-formats.ts";
import { type FileJobOutcome, fileProduct } from "./file-job.ts";
import { convertImage, isImageType } from "./image.ts";
import { markdownToHtml } from "./markdown.ts";
import { type DocumentType, findTarget } from "./media-types.ts";
import { cellsOfDocument, documentOfTable, unwrapList, writeCsv } from "./tables.ts";
import { readXlsx } from "./xlsx.ts";
import { readXml, writeXml } from "./xml-text.ts";
import { readYaml, writeYaml } from "./yaml-text.ts";

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
  const document = await readDocument(file, options, target);
  if (!document.ok) return document;
  const text = writeDocument(document.value, target, options);
  return text.ok ? ok(fileProduct(target, Buffer.from(text.value))) : text;
}

/** Options that are given but could change nothing. */
function misfitOf(options: JsonObject, target: string): string | undefined {
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

/** How a text that could be YAML or CSV begins when it is YAML. */
const yamlStart = /^(?:%YAML|---(?:\s|$)|- |[\w.-]+:(?:\s|$))/;

async function readDocument(file: FileContent, options: JsonObject, target: DocumentType): Promise<Result<Json, Failure>> {
  const { mediaType, text, json } = file;
  if (json !== undefined) return ok(json);
  if (mediaType === "application/zip") return await readSheetRows(file, options, target);
  if (text === undefined || file.jsonProblem) return impossible(file, target) as Result<never, Failure>;
  if (mediaType === "application/xml") return readXml(text);
  if (mediaType === "text/plain" && text.startsWith("<")) return readXml(text);
  const first = text.split("\n").find((line) => line.trim() !== "" && !line.startsWith("#")) ?? "";
  const delimiter = target === "text/csv" ? undefined : delimiterOf(options);
  const isTable = mediaType === "text/csv" || delimiter !== undefined;
  if (yamlStart.test(first) || !isTable) {
    const yaml = readYaml(text);
    if (yaml.ok && typeof yaml.value === "object" && yaml.value !== null) return yaml;
    if (!isTable) return yaml.ok ? fail(failure("SCHEMA", `${mediaType} cannot become ${target}: it is neither a table nor a YAML document`)) : yaml;
  }
  const table = await readCsv(text, { delimiter, hasHeader: options["no_header"] !== true, rowsMax: Number.MAX_SAFE_INTEGER });
  return table.ok ? ok(documentOfTable(table.value)) : table;
}

async function readSheetRows(file: FileContent, options: JsonObject, target: DocumentType): Promise<Result<Json, Failure>> {
  if (target !== "text/csv" && target !== "application/json") return impossible(file, target) as Result<never, Failure>;
  const rows = await readXlsx(file.bytes);
  if (!rows.ok) return rows;
  if (options["no_header"] === true) return rows;
  const [header = [], ...others] = rows.value;
  const names = header.map((name, index) => (name === null || name === "" ? `column_${index + 1}` : String(name)));
  const twin = names.find((name, index) => names.indexOf(name) !== index);
  if (twin !== undefined) return fail(failure("SCHEMA", `the sheet names the column "${twin.slice(0, 100)}" twice`));
  return ok(others.map((row) => Object.fromEntries(names.map((name, index) => [name, row[index] ?? null]))));
}

function delimiterOf(options: JsonObject): string | undefined {
  const delimiter = textField(options, "delimiter");
  return delimiter === "\\t" ? "\t" : delimiter;
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
      return ok(writeCsv(cells.value, { delimiter: delimiterOf(options) ?? ",", hasHeader: options["no_header"] !== true, isExport: true }));
    }
  }
}

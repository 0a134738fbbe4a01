/** A file as one JSON value: what `select` and `convert` work on, and where the rows of workbooks, XML and YAML come from. */
import type { Json } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { readCsv } from "../csv-table.ts";
import { delimiterMisfit, documentFormatOf, type FileContent } from "../file-formats.ts";
import { documentOfTable } from "./tables.ts";
import { readXlsx } from "./xlsx.ts";
import { readXml } from "./xml-text.ts";
import { readYaml } from "./yaml-text.ts";

export interface DocumentOptions {
  /** Of CSV; given, a text is CSV [guessed]. */
  readonly delimiter?: string | undefined;
  /** Of CSV and XLSX: without one, rows are lists. */
  readonly hasHeader: boolean;
}

/** SCHEMA when the file is no document: binary, broken, or a text that is neither a table nor YAML. */
export async function readDocument(file: FileContent, { delimiter, hasHeader }: DocumentOptions): Promise<Result<Json, Failure>> {
  const { mediaType, text, json, jsonProblem, textProblem } = file;
  const format = documentFormatOf(file);
  const misfit = delimiter === undefined ? undefined : delimiterMisfit(file);
  if (misfit) return fail(misfit);
  if (delimiter !== undefined && text !== undefined) return await readTable(text, delimiter, hasHeader);
  if (json !== undefined) return ok(json);
  if (format === "xlsx") {
    const workbook = await readXlsx(file.bytes, hasHeader);
    return workbook.ok ? ok(workbook.value.rows) : workbook;
  }
  if (text === undefined || jsonProblem) return fail(jsonProblem ?? textProblem ?? failure("SCHEMA", `the file is ${mediaType}, not a document`));
  if (format === "xml") return readXml(text);
  const isTable = mediaType === "text/csv";
  if (format === "yaml" || !isTable) {
    const yaml = readYaml(text);
    if (yaml.ok && typeof yaml.value === "object" && yaml.value !== null) return yaml;
    if (!isTable) return yaml.ok ? fail(failure("SCHEMA", `the file is ${mediaType}, neither a table nor a YAML document`)) : yaml;
  }
  return await readTable(text, undefined, hasHeader);
}

async function readTable(text: string, delimiter: string | undefined, hasHeader: boolean): Promise<Result<Json, Failure>> {
  const table = await readCsv(text, { delimiter, hasHeader, rowsMax: Number.MAX_SAFE_INTEGER });
  return table.ok ? ok(documentOfTable(table.value)) : table;
}

/**
 * The `extract` operation of `file_process`. TEXT gives `{text, truncated}`, also of a PDF, ROWS `{columns, rows, row_count, truncated}`,
 * METADATA `{characters, lines, columns, row_count}` or what `file-facts.ts` says of images, PDF and ZIP, ENTRIES those of a ZIP. `select` picks from `document`: the parsed JSON, the rows of a
 * CSV, else the text. `pattern` (linear-time regex) keeps the lines of the text in which it is found.
 */
import type { Clock } from "../base/clock.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { integerField, isSet, textField, textOf } from "./config-fields.ts";
import { readCsv } from "./csv-table.ts";
import { checkDelimiter, delimiterField } from "./delimiter-field.ts";
import { type BinaryReader, describeBinary, listArchive, withPdfText } from "./file-facts.ts";
import { delimiterMisfit, type FileContent } from "./file-formats.ts";
import { rowsIn, structureOf } from "./file-structure.ts";
import { filterLines, patternProblem } from "./filter-lines.ts";
import type { Report } from "./report.ts";

export const rowsDefault = 10_000;
const rowsMax = 10_000;
export const charactersDefault = 100_000;
const charactersMax = 1_000_000;
const columnsMax = 1_000;

/** Which options mean something for a target. */
const optionsOf: Readonly<Record<string, readonly string[]>> = {
  TEXT: ["max_characters", "pattern", "select", "delimiter", "no_header"],
  ROWS: ["max_rows", "select", "delimiter", "no_header"],
  METADATA: ["delimiter", "no_header"],
  ENTRIES: ["max_rows"],
};

export function checkFileExtract(extract: JsonObject, report: Report): void {
  const target = targetOf(extract);
  for (const name of ["delimiter", "no_header", "max_rows", "max_characters", "pattern", "select"]) {
    const isGiven = textField(extract, name) !== undefined || extract[name] === true || integerField(extract, name) !== undefined;
    if (isGiven && !optionsOf[target]?.includes(name)) report(`extract.${name}`, "VALIDATION_FAILED", `has no meaning with the target ${target}`);
  }
  if (target === "TEXT" && !isSet(extract, "select"))
    for (const name of ["delimiter", "no_header"].filter((option) => textField(extract, option) !== undefined || extract[option] === true))
      report(`extract.${name}`, "VALIDATION_FAILED", "has a meaning with the target TEXT only beside select");
  checkDelimiter(extract, "extract.delimiter", report);
  checkMaximum(extract, "max_rows", rowsMax, report);
  checkMaximum(extract, "max_characters", charactersMax, report);
  const pattern = textField(extract, "pattern");
  const problem = pattern === undefined ? undefined : patternProblem(pattern);
  if (problem) report("extract.pattern", "VALIDATION_FAILED", problem);
}

function checkMaximum(extract: JsonObject, name: string, maximum: number, report: Report): void {
  const value = integerField(extract, name);
  if (value !== undefined && (value < 0 || value > maximum)) report(`extract.${name}`, "LIMIT_EXCEEDED", `must be at most ${maximum}`);
}

/** What reading a file needs from outside. */
export interface Inspection {
  /** The value of `select`. */
  readonly evaluate: (extra: Readonly<Record<string, Json>>) => Result<Json, Failure>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly readBinary: BinaryReader;
}

export async function extractFrom(inspection: Inspection, extract: JsonObject, file: FileContent): Promise<Result<JsonObject, Failure>> {
  const misfit = misfitOf(extract, file);
  if (misfit) return fail(misfit);
  switch (targetOf(extract)) {
    case "ROWS":
      return extractRows(inspection, extract, file);
    case "METADATA":
      return (await describeBinary(file, extract, inspection.readBinary)) ?? (await describe(extract, file));
    case "ENTRIES":
      return listArchive(file, integerField(extract, "max_rows") ?? rowsDefault, inspection.readBinary);
    default: {
      const readable = await withPdfText(file, inspection.readBinary);
      return readable.ok ? extractText(inspection, extract, readable.value) : readable;
    }
  }
}

/** Options that could change nothing for the file. */
export function misfitOf(extract: JsonObject, file: Omit<FileContent, "bytes">): Failure | undefined {
  if (delimiterField(extract) !== undefined) return delimiterMisfit(file);
  const isDocument = file.json !== undefined || file.mediaType === "application/xml";
  return extract["no_header"] === true && isDocument ? failure("SCHEMA", `no_header has no meaning for ${file.mediaType}`) : undefined;
}

export function targetOf(extract: JsonObject): string {
  return (textField(extract, "target") ?? "").replace("FILE_EXTRACT_TARGET_", "") || "TEXT";
}

async function extractText(inspection: Inspection, extract: JsonObject, file: FileContent): Promise<Result<JsonObject, Failure>> {
  if (file.text === undefined) return fail(file.textProblem ?? failure("SCHEMA", `the file is ${file.mediaType}, not text`));
  let text = file.text;
  if (isSet(extract, "select")) {
    const document = await documentOf(inspection, extract, file);
    if (!document.ok) return document;
    const selected = inspection.evaluate({ document: document.value });
    if (!selected.ok) return selected;
    text = textOf(selected.value);
  }
  const pattern = textField(extract, "pattern");
  if (pattern !== undefined) {
    const kept = await filterLines(text, pattern, inspection.clock, inspection.signal);
    if (!kept.ok) return kept;
    text = kept.value;
  }
  const limit = integerField(extract, "max_characters") ?? charactersDefault;
  return ok({ text: text.slice(0, limit).toWellFormed(), truncated: text.length > limit });
}

async function extractRows(inspection: Inspection, extract: JsonObject, file: FileContent): Promise<Result<JsonObject, Failure>> {
  const limit = integerField(extract, "max_rows") ?? rowsDefault;
  if (isSet(extract, "select")) {
    const selected = await selectRows(inspection, extract, file);
    return selected.ok ? ok(tableOf(selected.value, limit)) : selected;
  }
  const document = file.json !== undefined ? ok(file.json) : await structureOf(file, extract, inspection.readBinary);
  if (document) return document.ok ? ok(tableOf(rowsIn(file, document.value), limit)) : document;
  const read = await readRows(extract, file, limit);
  return read.ok ? ok({ ...read.value, row_count: read.value["rows"].length }) : read;
}

export function tableOf(rows: readonly Json[], limit: number): JsonObject {
  const taken = rows.slice(0, limit);
  return { columns: columnsOf(taken), rows: taken, row_count: taken.length, truncated: rows.length > limit };
}

async function selectRows(inspection: Inspection, extract: JsonObject, file: FileContent): Promise<Result<Json[], Failure>> {
  const document = await documentOf(inspection, extract, file);
  if (!document.ok) return document;
  const selected = inspection.evaluate({ document: document.value });
  if (!selected.ok) return selected;
  return Array.isArray(selected.value) ? ok(selected.value) : fail(failure("EXPRESSION", "extract.select has to give a list of rows"));
}

/** What `select` sees. */
async function documentOf(inspection: Inspection, extract: JsonObject, file: FileContent): Promise<Result<Json, Failure>> {
  if (file.json !== undefined) return ok(file.json);
  const document = await structureOf(file, extract, inspection.readBinary);
  if (document) return document;
  if (file.text === undefined || (file.mediaType !== "text/csv" && delimiterField(extract) === undefined)) return ok(file.text ?? null);
  const rows = await readRows(extract, file, rowsMax);
  return rows.ok ? ok(rows.value["rows"]) : rows;
}

async function readRows(
  extract: JsonObject,
  file: FileContent,
  limit: number,
): Promise<Result<{ columns: Json[]; rows: Json[]; truncated: boolean }, Failure>> {
  const delimiter = delimiterField(extract);
  const problem = (delimiter === undefined ? file.jsonProblem : undefined) ?? file.textProblem;
  if (problem || file.text === undefined) return fail(problem ?? failure("SCHEMA", `the file is ${file.mediaType}, not rows`));
  const table = await readCsv(file.text, { delimiter, hasHeader: extract["no_header"] !== true, rowsMax: limit });
  if (!table.ok) return table;
  const { columns, rows, truncated } = table.value;
  // fromEntries defines keys instead of assigning them: a column may be called __proto__.
  const shaped =
    columns.length === 0 ? rows.map((row) => [...row]) : rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index] ?? ""])));
  return ok({ columns: [...columns], rows: shaped, truncated });
}

async function describe(extract: JsonObject, file: FileContent): Promise<Result<JsonObject, Failure>> {
  if (file.text === undefined) return ok({});
  const facts: JsonObject = { characters: file.text.length, lines: file.text === "" ? 0 : file.text.split("\n").length - (file.text.endsWith("\n") ? 1 : 0) };
  if (file.json !== undefined) {
    const rows = Array.isArray(file.json) ? file.json : [file.json];
    return ok({ ...facts, columns: columnsOf(rows), row_count: rows.length });
  }
  if (file.mediaType !== "text/csv" && delimiterField(extract) === undefined) return ok(facts);
  const table = await readCsv(file.text, {
    delimiter: delimiterField(extract),
    hasHeader: extract["no_header"] !== true,
    rowsMax: Number.MAX_SAFE_INTEGER,
  });
  return table.ok ? ok({ ...facts, columns: [...table.value.columns], row_count: table.value.rows.length }) : table;
}

/** Keys of all rows that are objects, in order of appearance. */
function columnsOf(rows: readonly Json[]): Json[] {
  const columns = new Set<string>();
  for (const row of rows) {
    if (columns.size >= columnsMax) break;
    if (isJsonObject(row)) for (const key of Object.keys(row)) columns.add(key);
  }
  return [...columns].slice(0, columnsMax);
}

/** The `validate` operation of `file_process`: which of the declared rules a file breaks. */
import { messageOf } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import type { Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";
import { findSchemaFaults, findSchemaProblem } from "../domain/json-schema.ts";
import { integerField, isSet, listField, objectField, textField } from "./config-fields.ts";
import { readCsv } from "./csv-table.ts";
import { documentFormatOf, type FileContent } from "./file-formats.ts";
import { rowsIn } from "./file-structure.ts";
import { documentOfTable } from "./files/tables.ts";
import type { Report } from "./report.ts";

/** One broken rule; `rule` is the field of the configuration that names it. */
export interface Violation {
  readonly rule: string;
  readonly message: string;
}

/** More are counted as one line: a file may be wrong in every row. */
export const violationsMax = 100;

export function checkFileValidate(rules: JsonObject, report: Report): void {
  listField(rules, "media_types").forEach((type, index) => {
    if (typeof type !== "string" || !/^[\w.+-]+\/(?:\*|[\w.+-]+)$/.test(type))
      report(`validate.media_types[${index}]`, "VALIDATION_FAILED", "is not a media type like text/csv or image/*");
  });
  const sha256 = textField(rules, "sha256");
  if (sha256 && !/^[0-9a-f]{64}$/i.test(sha256)) report("validate.sha256", "VALIDATION_FAILED", "is not 64 hexadecimal digits");
  const schema = objectField(rules, "json_schema");
  const problem = schema ? findSchemaProblem(schema) : undefined;
  if (problem) report("validate.json_schema", "SCHEMA_INVALID", problem);
}

/** Whether a rule is about rows or values. */
export function needsDocument(rules: JsonObject): boolean {
  return isSet(rules, "json_schema") || listField(rules, "required_columns").length > 0 || integerField(rules, "max_rows") !== undefined;
}

/** What was found out before the rules are looked at. */
export interface FileFindings {
  readonly sha256: string;
  /** What is wrong with the image's size, if that was asked. */
  readonly pixelProblem: string | undefined;
  /** Of a workbook, XML or YAML, if a rule needs it. */
  readonly structure: Result<Json, Failure> | undefined;
  /** The rows, when they have been read already. */
  readonly table?: Table | undefined;
}

/** What is known of a file without its bytes. */
export type KnownContent = Omit<FileContent, "bytes">;

export async function findViolations(rules: JsonObject, file: KnownContent, findings: FileFindings): Promise<Json[]> {
  const { sha256, pixelProblem, structure } = findings;
  const violations: Violation[] = [];
  const mediaTypes = listField(rules, "media_types").map(String);
  const required = listField(rules, "required_columns").map(String);
  const rowsMax = integerField(rules, "max_rows");
  const schema = objectField(rules, "json_schema");
  const isMaybeCsv = mayBeCsv(rules, file.mediaType);
  const isRead = isMaybeCsv || needsDocument(rules);
  const table = isRead ? (findings.table ?? (await readTable(file, structure))) : noTable;
  const isWantedCsv = isMaybeCsv && table.problem === undefined;
  if (mediaTypes.length > 0 && !isWantedCsv && !mediaTypes.some((wanted) => matchesMediaType(wanted, file.mediaType))) {
    const why = file.jsonProblem ?? file.textProblem;
    violations.push({ rule: "media_types", message: `the file is ${file.mediaType}, not ${mediaTypes.join(" or ")}${why ? `: ${why.message}` : ""}` });
  }
  const expected = textField(rules, "sha256")?.toLowerCase();
  if (expected && expected !== sha256) violations.push({ rule: "sha256", message: `the file's digest is ${sha256}` });
  if (pixelProblem !== undefined) violations.push({ rule: "max_pixels", message: pixelProblem });
  if (schema) violations.push(...checkSchema(schema, file, structure, table));
  if ((required.length > 0 || rowsMax !== undefined) && table.problem)
    violations.push({ rule: required.length > 0 ? "required_columns" : "max_rows", message: table.problem });
  else {
    for (const name of required) {
      const missing = table.firstWithout(name);
      if (missing !== undefined) violations.push({ rule: "required_columns", message: `column "${name}" is missing${missing}` });
    }
    if (rowsMax !== undefined && table.count > rowsMax)
      violations.push({ rule: "max_rows", message: `the file has ${table.count} rows, more than ${rowsMax}` });
  }
  const shown: Json[] = violations.slice(0, violationsMax).map(({ rule, message }) => ({ rule, message }));
  if (violations.length > violationsMax) shown.push({ rule: "", message: `and ${violations.length - violationsMax} more` });
  return shown;
}

/** A document is held to the schema as a whole, a table row by row. */
function checkSchema(schema: JsonObject, file: KnownContent, structure: FileFindings["structure"], table: Table): readonly Violation[] {
  const document = file.json ?? (structure?.ok && !isWorkbook(file) ? structure.value : undefined);
  if (document !== undefined) return schemaViolations(schema, document, "document");
  const isTable = file.mediaType === "text/csv" || isWorkbook(file);
  if (!isTable || table.problem !== undefined) {
    const why = isTable ? table.problem : (file.jsonProblem ?? file.textProblem ?? (structure?.ok === false ? structure.fault : undefined))?.message;
    return [{ rule: "json_schema", message: why ?? `the file is ${file.mediaType}, neither a document nor a table` }];
  }
  return table.breaches(schema);
}

/** Where rows break a schema, a few more than are shown. @param from the number of the first row */
export function breachesOf(schema: JsonObject, rows: readonly Json[], from = 1): readonly Violation[] {
  const violations: Violation[] = [];
  for (const [index, row] of rows.entries()) {
    violations.push(...schemaViolations(schema, row, `row ${from + index}`));
    if (violations.length > violationsMax) break;
  }
  return violations;
}

function schemaViolations(schema: JsonObject, value: Json, name: string): Violation[] {
  try {
    return findSchemaFaults(schema, value).map(({ path, problem }) => ({
      rule: "json_schema",
      message: `${path === "" ? name : name === "document" ? path : `${name}, ${path}`}: ${problem}`,
    }));
  } catch (error) {
    return [{ rule: "json_schema", message: `the schema cannot be applied: ${messageOf(error).slice(0, 200)}` }];
  }
}

/** A file seen as rows, whatever its format. */
export interface Table {
  readonly problem?: string | undefined;
  readonly count: number;
  /** Where a column is missing (" in row 3"), or undefined if no row lacks it. */
  firstWithout(column: string): string | undefined;
  breaches(schema: JsonObject): readonly Violation[];
}

const noTable: Table = { count: 0, firstWithout: () => undefined, breaches: () => [] };
const isWorkbook = (file: KnownContent): boolean => documentFormatOf(file) === "xlsx";

async function readTable(file: KnownContent, structure: FileFindings["structure"]): Promise<Table> {
  if (structure && !structure.ok) return { ...noTable, problem: structure.fault.message };
  if (structure || file.json !== undefined) {
    const rows = rowsIn(file, structure ? structure.value : (file.json ?? null));
    return {
      count: rows.length,
      firstWithout(column) {
        const index = rows.findIndex((row) => !isJsonObject(row) || !Object.hasOwn(row, column));
        return index < 0 ? undefined : ` in row ${index + 1}`;
      },
      breaches: (schema) => breachesOf(schema, rows),
    };
  }
  const problem = file.jsonProblem ?? file.textProblem;
  if (problem || file.text === undefined) return { ...noTable, problem: problem?.message ?? "the file is not text" };
  const table = await readCsv(file.text, { hasHeader: true, rowsMax: Number.MAX_SAFE_INTEGER });
  if (!table.ok) return { ...noTable, problem: table.fault.message };
  const { columns, rows } = table.value;
  return {
    count: rows.length,
    firstWithout: (column) => (columns.includes(column) ? undefined : ""),
    breaches: (schema) => breachesOf(schema, documentOfTable(table.value)),
  };
}

/** Whether a rule wants CSV and the file may be some: one column, or one line. */
export function mayBeCsv(rules: JsonObject, mediaType: string): boolean {
  return mediaType === "text/plain" && listField(rules, "media_types").includes("text/csv");
}

function matchesMediaType(wanted: string, actual: string): boolean {
  return wanted.toLowerCase() === actual || (wanted.endsWith("/*") && actual.startsWith(wanted.slice(0, -1).toLowerCase()));
}

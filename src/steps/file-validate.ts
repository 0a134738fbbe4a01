/** The `validate` operation of `file_process`: which of the declared rules a file breaks. */
import { messageOf } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { findSchemaFaults, findSchemaProblem } from "../domain/json-schema.ts";
import { integerField, listField, objectField, textField } from "./config-fields.ts";
import { readCsv } from "./csv-table.ts";
import type { FileContent } from "./file-formats.ts";
import type { Report } from "./report.ts";

/** One broken rule; `rule` is the field of the configuration that names it. */
interface Violation {
  readonly rule: string;
  readonly message: string;
}

/** More are counted as one line: a file may be wrong in every row. */
const violationsMax = 100;

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

/** @param pixelProblem what is wrong with the image's size, if that was asked. */
export async function findViolations(rules: JsonObject, file: FileContent, sha256: string, pixelProblem?: string): Promise<Json[]> {
  const violations: Violation[] = [];
  const mediaTypes = listField(rules, "media_types").map(String);
  const required = listField(rules, "required_columns").map(String);
  const rowsMax = integerField(rules, "max_rows");
  const mayBeCsv = mediaTypes.includes("text/csv") && file.mediaType === "text/plain"; // one column, or one line
  const table = mayBeCsv || required.length > 0 || rowsMax !== undefined ? await readTable(file) : noTable;
  const isWantedCsv = mayBeCsv && table.problem === undefined;
  if (mediaTypes.length > 0 && !isWantedCsv && !mediaTypes.some((wanted) => matchesMediaType(wanted, file.mediaType))) {
    const why = file.jsonProblem ?? file.textProblem;
    violations.push({ rule: "media_types", message: `the file is ${file.mediaType}, not ${mediaTypes.join(" or ")}${why ? `: ${why.message}` : ""}` });
  }
  const expected = textField(rules, "sha256")?.toLowerCase();
  if (expected && expected !== sha256) violations.push({ rule: "sha256", message: `the file's digest is ${sha256}` });
  if (pixelProblem !== undefined) violations.push({ rule: "max_pixels", message: pixelProblem });
  const schema = objectField(rules, "json_schema");
  if (schema) violations.push(...checkSchema(schema, file));
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

function checkSchema(schema: JsonObject, file: FileContent): Violation[] {
  if (file.json === undefined) {
    const why = file.jsonProblem ?? file.textProblem;
    return [{ rule: "json_schema", message: why?.message ?? `the file is ${file.mediaType}, not JSON` }];
  }
  try {
    return findSchemaFaults(schema, file.json).map(({ path, problem }) => ({ rule: "json_schema", message: `${path === "" ? "document" : path}: ${problem}` }));
  } catch (error) {
    return [{ rule: "json_schema", message: `the schema cannot be applied: ${messageOf(error).slice(0, 200)}` }];
  }
}

/** A file seen as rows, whatever its format. */
interface Table {
  readonly problem?: string;
  readonly count: number;
  /** Where a column is missing (" in row 3"), or undefined if no row lacks it. */
  firstWithout(column: string): string | undefined;
}

const noTable: Table = { count: 0, firstWithout: () => undefined };

async function readTable(file: FileContent): Promise<Table> {
  if (file.json !== undefined) {
    const rows = Array.isArray(file.json) ? file.json : [file.json];
    return {
      count: rows.length,
      firstWithout(column) {
        const index = rows.findIndex((row) => !isJsonObject(row) || !Object.hasOwn(row, column));
        return index < 0 ? undefined : ` in row ${index + 1}`;
      },
    };
  }
  const problem = file.jsonProblem ?? file.textProblem;
  if (problem || file.text === undefined) return { ...noTable, problem: problem?.message ?? "the file is not text" };
  const table = await readCsv(file.text, { hasHeader: true, rowsMax: Number.MAX_SAFE_INTEGER });
  if (!table.ok) return { ...noTable, problem: table.fault.message };
  const { columns, rows } = table.value;
  return { count: rows.length, firstWithout: (column) => (columns.includes(column) ? undefined : "") };
}

function matchesMediaType(wanted: string, actual: string): boolean {
  return wanted.toLowerCase() === actual || (wanted.endsWith("/*") && actual.startsWith(wanted.slice(0, -1).toLowerCase()));
}

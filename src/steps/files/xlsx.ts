/** The first sheet of an Excel workbook (XLSX). */
import { zipSync } from "fflate";
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { objectField, textField, textOf } from "../config-fields.ts";
import { readEntries } from "./archive.ts";
import { readXml } from "./xml-text.ts";

const rowsMax = 1_000_000;

export interface Workbook {
  /** Names of all sheets, in the workbook's order. */
  readonly sheets: readonly string[];
  /** Of the first sheet, from its first row; none without a header. */
  readonly columns: string[];
  /** Of the first sheet, as objects, or lists without a header: dates as ISO texts, formulas as their last results, empty cells as null. */
  readonly rows: Json[];
}

/** SCHEMA when the archive is no workbook. */
export async function readXlsx(bytes: Buffer, hasHeader: boolean): Promise<Result<Workbook, Failure>> {
  const parts = await readEntries(bytes, (name) => /^(?:\[Content_Types\]\.xml|_rels\/\.rels|xl\/.*\.(?:xml|rels))$/.test(name));
  if (!parts.ok) return parts;
  if (!parts.value.has("xl/workbook.xml")) return fail(failure("SCHEMA", "the archive is not an Excel workbook"));
  if ([...parts.value.values()].some((part) => /<!(?:DOCTYPE|ENTITY)/i.test(part.toString("latin1"))))
    return fail(failure("SCHEMA", "the workbook declares a document type; entities are refused"));
  // Packed anew from the checked entries: the reader walks the archive in its own way, and could meet others.
  const checked = zipSync(Object.fromEntries([...parts.value].map(([name, part]) => [name, Uint8Array.from(part)])), { level: 0 });
  const { readSheet } = await import("read-excel-file/node");
  const rows = await readSheet(Buffer.from(checked), 1, { trim: false });
  if (rows.length > rowsMax) return fail(failure("LIMIT.ROWS", `the sheet has more than ${rowsMax} rows`));
  const sheets = sheetNames(parts.value.get("xl/workbook.xml") as Buffer);
  if (!sheets.ok) return sheets;
  const lists = rows.map((row) => row.map(plainCell));
  if (!hasHeader) return ok({ sheets: sheets.value, columns: [], rows: lists });
  const [header = [], ...others] = lists;
  const columns = header.map((name, index) => textOf(name).trim() || `column_${index + 1}`);
  const twin = columns.find((name, index) => columns.indexOf(name) !== index);
  if (twin !== undefined) return fail(failure("SCHEMA", `the sheet names the column "${twin.slice(0, 100)}" twice`));
  return ok({ sheets: sheets.value, columns, rows: others.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index] ?? null]))) });
}

/** Numbers and blanks in a sheet's name stay as they are: attributes are always text. */
function sheetNames(workbook: Buffer): Result<string[], Failure> {
  const document = readXml(workbook.toString("utf8"));
  if (!document.ok) return document;
  const found = objectField(objectField(document.value as JsonObject, "workbook") ?? {}, "sheets")?.["sheet"] ?? [];
  const list = Array.isArray(found) ? found : [found];
  return ok(list.map((sheet) => textField(isJsonObject(sheet) ? sheet : {}, "@name") ?? ""));
}

function plainCell(cell: unknown): Json {
  if (cell instanceof Date) return Number.isNaN(cell.getTime()) ? null : cell.toISOString();
  if (typeof cell === "string") return cell.toWellFormed().replaceAll("\u0000", "\ufffd");
  return typeof cell === "number" || typeof cell === "boolean" ? cell : null;
}

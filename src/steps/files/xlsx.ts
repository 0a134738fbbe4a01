/** The first sheet of an Excel workbook (XLSX). */
import { zipSync } from "fflate";
import type { Json } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { readEntries } from "./archive.ts";

const rowsMax = 1_000_000;

/** Rows as lists; dates as ISO texts, empty cells as null. SCHEMA when the archive is no workbook. */
export async function readXlsx(bytes: Buffer): Promise<Result<Json[][], Failure>> {
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
  return ok(rows.map((row) => row.map(plainCell)));
}

function plainCell(cell: unknown): Json {
  if (cell instanceof Date) return Number.isNaN(cell.getTime()) ? null : cell.toISOString();
  if (typeof cell === "string") return cell.toWellFormed().replaceAll("\u0000", "\ufffd");
  return typeof cell === "number" || typeof cell === "boolean" ? cell : null;
}

/** CSV as a table. Rows are lists of text; what the cells mean is the business of expressions. */
import { fail, ok, type Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";
import { CsvReader, columnsOfHeader } from "./csv-reader.ts";

export interface CsvTable {
  /** Names from the first line; empty if the file has none. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** There are more rows than were asked for. */
  readonly truncated: boolean;
}

export interface CsvOptions {
  /** [guessed from the first lines, else a comma] */
  readonly delimiter?: string | undefined;
  readonly hasHeader: boolean;
  readonly rowsMax: number;
}

/** Characters parsed in one turn of the event loop: about 5 ms. */
const turnCharacters = 64 * 1024;
const delimiters = [",", ";", "\t", "|"];
const guessedLines = 10;
const guessedCharacters = 64 * 1024;

/** Reads a whole text, up to the rows asked for. SCHEMA names the line that is wrong, LIMIT.* what is too large. */
export async function readCsv(text: string, options: CsvOptions): Promise<Result<CsvTable, Failure>> {
  const records: string[][] = [];
  const recordsMax = options.rowsMax + (options.hasHeader ? 1 : 0);
  const reader = new CsvReader(options.delimiter ?? guessDelimiter(text) ?? ",");
  for (let at = 0, isOver = false; !isOver && records.length <= recordsMax; at += turnCharacters) {
    isOver = at >= text.length;
    const piece = isOver ? await reader.end() : await reader.write(text.slice(at, at + turnCharacters));
    for (const record of piece.records) records.push(record);
    if (piece.problem && records.length <= recordsMax) return fail(piece.problem);
  }
  reader.close();
  const columns = columnsOfHeader(options.hasHeader ? (records.shift() ?? []) : []);
  if (!columns.ok) return columns;
  return ok({ columns: columns.value, rows: records.slice(0, options.rowsMax), truncated: records.length > options.rowsMax });
}

/** The delimiter that splits each of the first lines into equally many fields, at least two; undefined if none does. */
export function guessDelimiter(text: string): string | undefined {
  const sample = text.slice(0, guessedCharacters).replace(/"(?:[^"]|"")*"/g, "");
  const complete = text.length > guessedCharacters ? sample.slice(0, sample.lastIndexOf("\n")) : sample;
  const lines = complete
    .split(/\r?\n|\r/)
    .filter((line) => line.trim() !== "")
    .slice(0, guessedLines);
  if (lines.length < 2) return undefined;
  return delimiters.find((delimiter) => {
    const counts = lines.map((line) => line.split(delimiter).length);
    return (counts[0] ?? 1) > 1 && counts.every((count) => count === counts[0]);
  });
}

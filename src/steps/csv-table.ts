/** CSV as a table. Rows are lists of text; what the cells mean is the business of expressions. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type CsvError, parse } from "csv-parse";
import { messageOf } from "../base/errors.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";

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

const columnsMax = 1_000;
const fieldCharactersMax = 1024 * 1024;
/** Characters parsed in one turn of the event loop: about 5 ms. */
const turnCharacters = 64 * 1024;
const delimiters = [",", ";", "\t", "|"];
const guessedLines = 10;
const guessedCharacters = 64 * 1024;

/** Reads CSV (RFC 4180; empty lines are skipped). SCHEMA names the line that is wrong, LIMIT.* what is too large. */
export async function readCsv(text: string, options: CsvOptions): Promise<Result<CsvTable, Failure>> {
  const records: string[][] = [];
  const recordsMax = options.rowsMax + (options.hasHeader ? 1 : 0);
  let problem: Failure | undefined;
  const isEnough = (): boolean => records.length > recordsMax;
  const parser = parse({
    delimiter: options.delimiter ?? guessDelimiter(text) ?? ",",
    skip_empty_lines: true,
    on_record(record: string[], { lines }) {
      if (isEnough()) return null;
      problem ??= sizeProblem(record, lines);
      records.push(record);
      return null;
    },
  });
  parser.on("error", (error: CsvError) => {
    if (!isEnough()) problem ??= failure("SCHEMA", `the CSV is not valid: ${messageOf(error).slice(0, 300)}`);
  });
  for (let at = 0; at < text.length && !problem && !isEnough(); at += turnCharacters) {
    parser.write(text.slice(at, at + turnCharacters));
    await nextTurn();
  }
  if (!problem && !isEnough()) await ended(parser);
  parser.destroy();
  if (problem) return fail(problem);
  const header = options.hasHeader ? (records.shift() ?? []) : [];
  const columns = header.map((name, index) => name.trim() || `column_${index + 1}`);
  const twin = columns.find((name, index) => columns.indexOf(name) !== index);
  if (twin !== undefined) return fail(failure("SCHEMA", `the CSV names the column "${twin.slice(0, 100)}" twice`));
  return ok({ columns, rows: records.slice(0, options.rowsMax), truncated: records.length > options.rowsMax });
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

function sizeProblem(record: readonly string[], line: number): Failure | undefined {
  if (record.length > columnsMax) return failure("LIMIT.COLUMNS", `line ${line} has ${record.length} columns; the limit is ${columnsMax}`);
  if (record.some((field) => field.length > fieldCharactersMax))
    return failure("LIMIT.FIELD", `a field up to line ${line} has more than ${fieldCharactersMax} characters`);
  return undefined;
}

function ended(parser: ReturnType<typeof parse>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  parser
    .once("error", () => resolve())
    .once("end", resolve)
    .resume()
    .end();
  return promise;
}

/** CSV read piece by piece (RFC 4180; empty lines are skipped): text in, the records out that became complete. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type CsvError, parse } from "csv-parse";
import { messageOf } from "../base/errors.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";

const columnsMax = 1_000;
const fieldCharactersMax = 1024 * 1024;
/** A quote that is never closed makes one record of all that follows. */
const recordCharactersMax = 16 * 1024 * 1024;

export interface CsvPiece {
  readonly records: readonly string[][];
  /** What is wrong behind these records: SCHEMA names the line, LIMIT.* what is too large. Nothing more can be read then. */
  readonly problem?: Failure | undefined;
}

export class CsvReader {
  readonly #parser: ReturnType<typeof parse>;
  #records: string[][] = [];
  #problem: Failure | undefined;

  constructor(delimiter: string) {
    this.#parser = parse({
      delimiter,
      skip_empty_lines: true,
      max_record_size: recordCharactersMax,
      on_record: (record: string[], { lines }) => {
        this.#problem ??= sizeProblem(record, lines);
        if (!this.#problem) this.#records.push(record);
        return null;
      },
    });
    this.#parser.on("error", (error: CsvError) => {
      this.#problem ??= parseProblem(error);
    });
  }

  /** Also lets others have their turn. */
  async write(text: string): Promise<CsvPiece> {
    if (!this.#problem) this.#parser.write(text);
    await nextTurn();
    return this.#taken();
  }

  /** The last record, if no line break ended it. */
  async end(): Promise<CsvPiece> {
    if (!this.#problem) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#parser
        .once("error", () => resolve())
        .once("end", resolve)
        .resume()
        .end();
      await promise;
    }
    this.close();
    return this.#taken();
  }

  /** Nothing more is wanted. */
  close(): void {
    this.#parser.destroy();
  }

  #taken(): CsvPiece {
    const records = this.#records;
    this.#records = [];
    return { records, problem: this.#problem };
  }
}

function parseProblem(error: CsvError): Failure {
  if (error.code === "CSV_MAX_RECORD_SIZE") return failure("LIMIT.FIELD", `a line of the CSV has more than ${recordCharactersMax} characters`);
  return failure("SCHEMA", `the CSV is not valid: ${messageOf(error).slice(0, 300)}`);
}

function sizeProblem(record: readonly string[], line: number): Failure | undefined {
  if (record.length > columnsMax) return failure("LIMIT.COLUMNS", `line ${line} has ${record.length} columns; the limit is ${columnsMax}`);
  if (record.some((field) => field.length > fieldCharactersMax))
    return failure("LIMIT.FIELD", `a field up to line ${line} has more than ${fieldCharactersMax} characters`);
  return undefined;
}

/** The names of the columns in a first line; those without a name get one. SCHEMA for a name that is there twice. */
export function columnsOfHeader(header: readonly string[]): Result<readonly string[], Failure> {
  const columns = header.map((name, index) => name.trim() || `column_${index + 1}`);
  const twin = columns.find((name, index) => columns.indexOf(name) !== index);
  return twin === undefined ? ok(columns) : fail(failure("SCHEMA", `the CSV names the column "${twin.slice(0, 100)}" twice`));
}

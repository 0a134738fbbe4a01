/** Texts without what only eyes need. What the texts mean stays the same; a text that is not valid is refused rather than guessed at. */
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { guessDelimiter, readCsv } from "../csv-table.ts";
import { documentFormatOf, type FileContent } from "../file-formats.ts";
import { minifyCss } from "./minify-css.ts";
import { minifyHtml } from "./minify-html.ts";
import { minifyXml } from "./minify-xml.ts";
import { writeCsv } from "./tables.ts";

/** The smaller text and what it is: for CSS only reading all of it tells. */
export interface Minified {
  readonly text: string;
  readonly mediaType: string;
}

export async function minifyText(file: FileContent): Promise<Result<Minified, Failure>> {
  const { mediaType, text } = file;
  if (text !== undefined && ["text/plain", "text/csv"].includes(mediaType)) {
    const sheet = minifyCss(text);
    if (sheet !== undefined) return ok({ text: sheet, mediaType: "text/css" });
  }
  const small = await minifyBy(file);
  return small.ok ? ok({ text: small.value, mediaType }) : small;
}

async function minifyBy(file: FileContent): Promise<Result<string, Failure>> {
  const { mediaType, text } = file;
  switch (text === undefined ? "" : mediaType) {
    case "application/json":
      return ok(withoutJsonBlanks(text ?? ""));
    case "application/x-ndjson":
      return ok(
        (text ?? "")
          .split("\n")
          .filter((line) => line.trim() !== "")
          .map((line) => `${withoutJsonBlanks(line)}\n`)
          .join(""),
      );
    case "text/html":
      return ok(minifyHtml(text ?? ""));
    case "text/csv":
      return await minifyCsv(text ?? "");
    default:
      if (documentFormatOf(file) === "xml") return minifyXml(text ?? "");
      return fail(failure("SCHEMA", `minify is possible for JSON, NDJSON, HTML, CSS, XML and CSV; the file is ${mediaType}`));
  }
}

/** By characters, not by parsing: numbers keep every digit. */
export function withoutJsonBlanks(text: string): string {
  return text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, (_, string: string | undefined) => string ?? "");
}

async function minifyCsv(text: string): Promise<Result<string, Failure>> {
  const table = await readCsv(text, { hasHeader: false, rowsMax: Number.MAX_SAFE_INTEGER });
  if (!table.ok) return table;
  return ok(writeCsv({ columns: [], rows: table.value.rows }, { delimiter: guessDelimiter(text) ?? ",", hasHeader: false, isExport: false }));
}

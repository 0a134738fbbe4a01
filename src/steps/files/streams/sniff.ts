/** What a large file is, judged by its beginning. Whether all of it keeps that promise, reading it will tell. */
import type { Failure } from "../../../domain/failure.ts";
import { guessDelimiter } from "../../csv-table.ts";
import { documentFormatOf, signatureOf, textTypeOf } from "../../file-formats.ts";
import { parseJsonText } from "../../json-text.ts";
import { FileFault } from "./file-fault.ts";
import { textIn } from "./text-stream.ts";

export interface Sniffed {
  readonly mediaType: string;
  /** `table` and `lines` (NDJSON) have rows that can be read one by one; `document` is only understood whole; `text` has no structure. */
  readonly kind: "binary" | "table" | "lines" | "document" | "text";
  /** Of a table. */
  readonly delimiter?: string;
  /** Of a file that begins as no text. */
  readonly textProblem?: Failure;
}

/** @param charset of a text; what is told by its first bytes is no text, whatever it says. */
export async function sniff(head: Buffer, charset: string | undefined): Promise<Sniffed> {
  const signature = signatureOf(head);
  if (signature !== undefined) return { mediaType: signature, kind: "binary" };
  let text: string;
  try {
    text = await textOfHead(head, charset);
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    return { mediaType: "application/octet-stream", kind: "binary", textProblem: error.failure };
  }
  if (/^\s*[[{]/.test(text))
    return beginsWithJsonLines(text) ? { mediaType: "application/x-ndjson", kind: "lines" } : { mediaType: "application/json", kind: "document" };
  const mediaType = textTypeOf(text);
  const format = documentFormatOf({ mediaType, text });
  if (format === "xml" || format === "yaml") return { mediaType, kind: "document" };
  const delimiter = mediaType === "text/csv" ? guessDelimiter(text) : undefined;
  return delimiter === undefined ? { mediaType, kind: "text" } : { mediaType, kind: "table", delimiter };
}

/** Without a character that the head has cut. */
async function textOfHead(head: Buffer, charset: string | undefined): Promise<string> {
  async function* pieces(): AsyncIterable<Uint8Array> {
    yield head;
  }
  for await (const text of textIn(pieces(), charset)) return text;
  return "";
}

/** Two values on two lines, the first of them whole. */
function beginsWithJsonLines(text: string): boolean {
  const start = text.trimStart();
  const end = start.indexOf("\n");
  return end > 0 && /^\s*[^\s]/.test(start.slice(end)) && parseJsonText(start.slice(0, end), "line").ok;
}

/** Files whose rows and values are read by a worker thread: workbooks, XML and YAML. What a plain text is, is found out by reading it. */
import type { Json, JsonObject } from "../base/json.ts";
import type { Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";
import { delimiterField } from "./delimiter-field.ts";
import { type BinaryReader, readAsDocument } from "./file-facts.ts";
import { documentFormatOf, type FileContent } from "./file-formats.ts";
import { unwrapList } from "./files/tables.ts";

/** The file's value, or why it has none; undefined for what is read otherwise. `options`: `delimiter` (then a text is CSV) and `no_header`. */
export async function structureOf(file: FileContent, options: JsonObject, reader: BinaryReader): Promise<Result<Json, Failure> | undefined> {
  const format = documentFormatOf(file);
  if (delimiterField(options) !== undefined || (format !== "xlsx" && format !== "xml" && format !== "yaml")) return undefined;
  const document = await readAsDocument(file, { no_header: options["no_header"] === true }, reader);
  if (document.ok || format === "xlsx" || file.mediaType !== "text/plain") return document;
  // A text that only begins like XML or YAML is a text. Anything but SCHEMA is about time or memory.
  return document.fault.name === "SCHEMA" ? undefined : document;
}

/** XML always wraps its rows; other documents are a list of rows or one row. */
export function rowsIn(file: Omit<FileContent, "bytes">, document: Json): Json[] {
  const rows = documentFormatOf(file) === "xml" ? unwrapList(document) : document;
  return Array.isArray(rows) ? rows : [rows];
}

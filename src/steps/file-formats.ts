/**
 * What a file is, judged by its bytes alone: a label or a name says only what somebody believes. Nothing here does I/O
 * or knows steps, so that it can move to a worker thread as it is.
 */
import { isUtf8 } from "node:buffer";
import type { Json } from "../base/json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { guessDelimiter } from "./csv-table.ts";
import { parseJsonText } from "./json-text.ts";

export interface FileContent {
  readonly mediaType: string;
  readonly bytes: Buffer;
  /** Absent for binary files; then `textProblem` says why they are no text. */
  readonly text?: string;
  readonly textProblem?: Failure;
  /** The value of a JSON file, or the list of an NDJSON file. */
  readonly json?: Json;
  /** Why a text that begins like JSON is none. */
  readonly jsonProblem?: Failure;
}

/** First bytes (hex) of formats that are told by them. */
const signatures: readonly (readonly [mediaType: string, pattern: RegExp])[] = [
  ["image/png", /^89504e470d0a1a0a/],
  ["image/jpeg", /^ffd8ff/],
  ["image/gif", /^474946383[79]61/],
  ["image/webp", /^52494646.{8}57454250/],
  ["image/avif", /^.{8}6674797061766966/],
  ["image/tiff", /^(?:49492a00|4d4d002a)/],
  ["application/pdf", /^255044462d/],
  ["application/zip", /^504b(?:0304|0506|0708)/],
  ["application/gzip", /^1f8b/],
  ["application/x-bzip2", /^425a68/],
  ["application/x-xz", /^fd377a585a00/],
  ["application/x-7z-compressed", /^377abcaf271c/],
  ["application/vnd.rar", /^526172211a07/],
  ["application/x-cfb", /^d0cf11e0a1b11ae1/],
  ["application/x-elf", /^7f454c46/],
];
const signatureBytes = 16;
export const xlsxType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/** An archive lists its entries at its end; what is listed before this many bytes is not looked for. */
const archiveEndBytes = 1024 * 1024;

export function readFileContent(bytes: Buffer): FileContent {
  const signature = signatureOf(bytes);
  if (signature !== undefined) {
    const mediaType = signature === "application/zip" && isWorkbook(bytes) ? xlsxType : signature;
    return { mediaType, bytes, textProblem: failure("SCHEMA", `the file is ${mediaType}, not text`) };
  }
  const text = decodeUtf8(bytes);
  if (!text.ok) return { mediaType: "application/octet-stream", bytes, textProblem: text.fault };
  return { bytes, text: text.value, ...readTextFormat(text.value) };
}

/** The media type of what is no text, by its first bytes. */
export function signatureOf(bytes: Buffer): string | undefined {
  const head = bytes.subarray(0, signatureBytes).toString("hex");
  return signatures.find(([, pattern]) => pattern.test(head))?.[0];
}

/** Whether an archive is a workbook. @param bytes all of it, or its end */
export function isWorkbook(bytes: Buffer): boolean {
  const end = bytes.subarray(-archiveEndBytes);
  return end.includes("xl/workbook.xml") && end.includes("[Content_Types].xml");
}

/** Whether it is a ZIP archive, whatever is in it. */
export function isArchive({ mediaType }: FileContent): boolean {
  return mediaType === "application/zip" || mediaType === xlsxType;
}

/** How a text that could be YAML or CSV begins when it is YAML. */
const yamlStart = /^(?:%YAML|---(?:\s|$)|- |[\w.-]+:(?:\s|$))/;

/** How a file is read as a document, if it is one: YAML has no mark of its own, so that may turn out to be a plain text after all. */
export function documentFormatOf({ mediaType, text, json, jsonProblem }: Omit<FileContent, "bytes">): "json" | "xlsx" | "xml" | "yaml" | "csv" | undefined {
  if (json !== undefined) return "json";
  if (mediaType === xlsxType) return "xlsx";
  if (text === undefined || jsonProblem) return undefined;
  if (["application/xml", "image/svg+xml"].includes(mediaType) || (mediaType === "text/plain" && text.startsWith("<"))) return "xml";
  const first = text.split("\n", 100).find((line) => line.trim() !== "" && !line.startsWith("#")) ?? "";
  if (["text/plain", "text/csv"].includes(mediaType) && yamlStart.test(first)) return "yaml";
  return mediaType === "text/csv" ? "csv" : undefined;
}

/** Why a delimiter means nothing for the file; undefined for plain texts, which it makes CSV, and for what can be no table at all. */
export function delimiterMisfit({ mediaType, text, json }: Omit<FileContent, "bytes">): Failure | undefined {
  const isText = json === undefined && (mediaType === "text/plain" || mediaType === "text/csv");
  const isOther = text === undefined && mediaType !== xlsxType;
  return isText || isOther ? undefined : failure("SCHEMA", `delimiter has no meaning for ${mediaType}`);
}

function readTextFormat(text: string): Pick<FileContent, "mediaType" | "json" | "jsonProblem"> {
  const start = /^\s*([^\s]{0,40})/.exec(text)?.[1] ?? "";
  if (/^[[{]/.test(start)) {
    const json = parseJsonText(text, "document");
    if (json.ok) return { mediaType: "application/json", json: json.value };
    const lines = readJsonLines(text);
    return lines.ok ? { mediaType: "application/x-ndjson", json: lines.value } : { mediaType: "text/plain", jsonProblem: json.fault };
  }
  return { mediaType: textTypeOf(text) };
}

/** Of a text that does not begin like JSON. @param text all of it, or at least its first 64 Ki characters */
export function textTypeOf(text: string): string {
  const start = /^\s*([^\s]{0,40})/.exec(text)?.[1] ?? "";
  if (/^<\?xml/i.test(start)) return "application/xml";
  if (/^<(?:!doctype|html)/i.test(start)) return "text/html";
  if (/^<svg/i.test(start)) return "image/svg+xml";
  return guessDelimiter(text) === undefined ? "text/plain" : "text/csv";
}

/** One JSON value per line, at least two lines; stops at the first that is none. */
function readJsonLines(text: string): Result<Json[], Failure> {
  const values: Json[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const value = parseJsonText(line, `line ${index + 1}`);
    if (!value.ok) return value;
    values.push(value.value);
  }
  return values.length > 1 ? ok(values) : fail(failure("SCHEMA", "a single line"));
}

/** Whether a text needs no other decoder. */
export function utf8Charset(charset: string | undefined): boolean {
  return charset === undefined || /^utf-?8$/i.test(charset);
}

/**
 * UTF-8 text without its byte order mark; SCHEMA names the first byte that is none, or the first NUL.
 * @param before what stands before these bytes in the file [nothing]
 */
export function decodeUtf8(bytes: Buffer, before = { bytes: 0, lines: 0 }): Result<string, Failure> {
  const text = bytes.toString("utf8");
  const bad = isUtf8(bytes) ? text.indexOf("\u0000") : firstBadCharacter(text, bytes);
  if (bad < 0) return ok(before.bytes === 0 ? text.replace(/^\ufeff/, "") : text);
  const good = text.slice(0, bad);
  const place = `byte ${before.bytes + Buffer.byteLength(good)}, line ${before.lines + good.split("\n").length}`;
  return fail(
    failure(
      "SCHEMA",
      text[bad] === "\u0000"
        ? `the text contains a NUL character at ${place}`
        : `the file is not UTF-8 text: broken at ${place}${bad + before.bytes === 0 ? hintOf(bytes) : ""}`,
    ),
  );
}

/** UTF-16 is known by its byte order mark; `convert` makes UTF-8 of it. */
function hintOf(bytes: Buffer): string {
  const [first, second] = bytes;
  const charset = first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : undefined;
  return charset === undefined ? "" : `; it begins like ${charset}, which convert reads with that charset`;
}

/** Decoding puts U+FFFD where bytes are broken; but the file may also hold a genuine one (EF BF BD). */
function firstBadCharacter(text: string, bytes: Buffer): number {
  const nul = text.indexOf("\u0000");
  let offset = 0;
  let from = 0;
  for (let at = text.indexOf("\ufffd"); at >= 0; at = text.indexOf("\ufffd", at + 1)) {
    offset += Buffer.byteLength(text.slice(from, at));
    if (bytes[offset] !== 0xef || bytes[offset + 1] !== 0xbf || bytes[offset + 2] !== 0xbd) return nul >= 0 ? Math.min(nul, at) : at;
    offset += 3;
    from = at + 1;
  }
  return nul;
}

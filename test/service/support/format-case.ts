/** A file of test/fixtures, what it is put through, and what has to come out: the words that `format-cases.ts` is written in. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { expect } from "vitest";

export interface FormatCase {
  /** Name in test/fixtures/files. */
  readonly file: string;
  /** The operation as a definition has it. */
  readonly does: JsonObject;
  /** A part of the step's result. */
  readonly gives?: unknown;
  /** How test/fixtures/read.py reads the file that was made. */
  readonly read?: JsonObject;
  /** What it reads; may hold matchers. */
  readonly says?: unknown;
  /** Turns what was read into what is compared. */
  readonly as?: (reading: JsonValue) => unknown;
}

export const extract = (file: string, target: string, gives: unknown, options: JsonObject = {}): FormatCase => ({
  file,
  does: { extract: { target: `FILE_EXTRACT_TARGET_${target}`, ...options } },
  gives,
});
export const validate = (file: string, rules: JsonObject, gives: unknown = { valid: true, violations: [] }): FormatCase => ({
  file,
  does: { validate: { ...rules, report_only: true } },
  gives,
});
export const convert = (
  file: string,
  to: string,
  kind: string,
  says: unknown,
  more: { options?: JsonObject; as?: FormatCase["as"]; read?: JsonObject } = {},
): FormatCase => ({
  file,
  does: { convert: { to_media_type: to, ...more.options } },
  gives: { media_type: to, blob: { media_type: to } },
  read: { kind, ...more.read },
  says,
  ...(more.as ? { as: more.as } : {}),
});
export const optimize = (file: string, options: JsonObject, mediaType: string, read: JsonObject, says: unknown, as?: FormatCase["as"]): FormatCase => ({
  file,
  does: { optimize: options },
  gives: { media_type: mediaType, saved_bytes: expect.any(Number) },
  read,
  says,
  ...(as ? { as } : {}),
});

export type Row = Record<string, JsonValue>;
/** Lists whose first names the others' cells. */
export const namedRows = (reading: JsonValue): unknown => {
  const [names = [], ...rows] = reading as string[][];
  return rows.map((row) => Object.fromEntries(row.map((cell, index) => [names[index], cell])));
};
export type Element = [tag: string, attributes: Record<string, string>, text: string, children: Element[], tail: string];
/** `<root><item><a>x</a></item></root>` as `[{a: "x"}]`. */
export const itemsOfXml = (reading: JsonValue): unknown =>
  (reading as unknown as Element)[3].map(([, , , cells]) => Object.fromEntries(cells.map(([tag, , text]) => [tag, text])));
export const asText = (rows: readonly Row[]): Row[] => rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, textOf(value)])));
const textOf = (value: JsonValue): string => (typeof value === "string" ? value : value === null ? "" : JSON.stringify(value));

/** Rows into each of the five formats. `exported` is what CSV makes of them. */
export function everyDocument(file: string, rows: readonly Row[], exported: readonly Row[], options: JsonObject = {}): FormatCase[] {
  // The delimiter of a CSV target is that of what is written.
  const { delimiter: _, ...others } = options;
  return [
    convert(file, "application/json", "json", rows, { options }),
    convert(file, "application/x-ndjson", "ndjson", rows, { options }),
    convert(file, "application/yaml", "yaml", rows, { options }),
    convert(file, "application/xml", "xml", asText(rows), { options, as: itemsOfXml }),
    convert(file, "text/csv", "csv", asText(exported), { options: { ...others, delimiter: ";" }, as: namedRows, read: { delimiter: ";" } }),
  ];
}

/** Reading a file piece by piece gives what reading it whole gives, wherever the pieces are cut. */
import { randomBytes } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import type { FileTask } from "../../src/steps/files/file-job.ts";
import { doFileJob } from "../../src/steps/files/file-job-table.ts";
import { doStreamTask } from "../../src/steps/files/streams/stream-task.ts";

type Operation = Pick<FileTask, "kind"> & { readonly options: JsonObject };
interface Seen {
  readonly facts?: JsonObject;
  readonly mediaType?: string;
  readonly text?: string;
  readonly fault?: string;
}

async function streamed({ kind, options }: Operation, bytes: Buffer, size: number): Promise<Seen> {
  let mediaType = "";
  const pieces: Uint8Array[] = [];
  const source = {
    sizeBytes: bytes.length,
    async *read() {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    },
  };
  const begin = (type: string): void => {
    mediaType = type;
  };
  const write = async (piece: Uint8Array): Promise<void> => void pieces.push(Buffer.from(piece));
  const outcome = await doStreamTask({ task: { kind, options }, source, begin, write });
  if (!outcome.ok) return { fault: `${outcome.fault.name}: ${outcome.fault.message}` };
  return outcome.value.facts ? { facts: outcome.value.facts } : { mediaType, text: Buffer.concat(pieces).toString("latin1") };
}

async function whole({ kind, options }: Operation, bytes: Buffer): Promise<Seen> {
  const outcome = await doFileJob({ kind, options, bytes });
  if (!outcome.ok) return { fault: `${outcome.fault.name}: ${outcome.fault.message}` };
  const { value } = outcome;
  return value.kind === "facts" ? { facts: value.facts } : { mediaType: value.mediaType, text: Buffer.from(value.bytes).toString("latin1") };
}

const convert = (to: string, options: JsonObject = {}): Operation => ({ kind: "convert", options: { to_media_type: to, ...options } });
const validate = (rules: JsonObject): Operation => ({ kind: "inspect", options: { validate: rules } });
const extract = (target: string, options: JsonObject = {}): Operation => ({
  kind: "inspect",
  options: { extract: { target: `FILE_EXTRACT_TARGET_${target}`, ...options } },
});
const optimize = (options: JsonObject): Operation => ({ kind: "optimize", options });

const table = '\ufeffid;näme;note\r\n1;Ännchen 𝄞;"a;b"\r\n2;"Bob ""B""";=1+1\r\n3;;"two\nlines"\r\n';
const lines = '{"a":1,"b":"ä𝄞"}\n\n{"b":null,"c":[1,{"d":2}]} \n{"a":12345678901234567890}';
const inputs: Readonly<Record<string, Buffer>> = {
  table: Buffer.from(table),
  "table without a last line break": Buffer.from("a,b\n1,2\n3,4"),
  lines: Buffer.from(lines),
  lists: Buffer.from("[1,2]\n[3]\n"),
  text: Buffer.from("Erste Zeile mit Wörtern\r\nzweite\fSeite, zwei\n\ndritte"),
  page: Buffer.from("<!DOCTYPE html><html> x </html>"),
  "broken table": Buffer.from('a,b\n1,2\n3,4\n5,"6\n'),
  "uneven table": Buffer.from("a,b\n1,2\n3,4\n5,6\n7,8\n9,1\n2,3\n4,5\n6,7\n8,9\n1,2\n3,4\n5,6,7\n"),
  "named twice": Buffer.from("a,a\n1,2\n"),
  "broken text": Buffer.concat([Buffer.from("a,b\n1,ä\n2,"), Buffer.from([0xc3, 0x28]), Buffer.from("\n3,4\n")]),
  "text with NUL": Buffer.from("a,b\n1,2\n3,\u0000\n"),
  "a cut character": Buffer.concat([Buffer.from("words and an ä"), Buffer.from([0xc3])]),
  "unknown bytes": Buffer.from([0, 1, 2, 255, 254]),
  "latin table": Buffer.from("name,ort\nJürgen,Köln\n", "latin1"),
  archive: Buffer.from(zipSync({ "a/b.txt": Buffer.from("hello"), "c.csv": Buffer.from("x,y\n") })),
  "archive with a path": Buffer.from(zipSync({ "../x": Buffer.from("hello") })),
  "archive in an archive": Buffer.from(zipSync({ "inner.zip": zipSync({}) })),
  "bomb of zeros": Buffer.from(zipSync({ zeros: Buffer.alloc(1_000_000) })),
};
const operations: Readonly<Record<string, Operation>> = {
  "to CSV": convert("text/csv"),
  "to CSV with tabs": convert("text/csv", { delimiter: "\\t", no_header: true }),
  "to JSON": convert("application/json"),
  "to indented JSON": convert("application/json", { pretty: true, no_header: true }),
  "to NDJSON": convert("application/x-ndjson"),
  "to XML": convert("application/xml"),
  "to indented XML": convert("application/xml", { pretty: true, root_element: "all", no_header: true }),
  "from semicolons": convert("application/json", { delimiter: ";" }),
  "from latin": convert("application/json", { charset: "iso-8859-1" }),
  "to a picture": convert("image/png"),
  "with what has no meaning": convert("text/csv", { pretty: true }),
  "valid by its type": validate({ media_types: ["text/csv", "application/x-ndjson"], sha256: "0".repeat(64), max_pixels: 5 }),
  "valid by its rows": validate({ media_types: ["text/csv"], required_columns: ["a", "id"], max_rows: 2 }),
  "valid by a schema": validate({ json_schema: { type: "object", properties: { id: { const: "2" }, a: { const: "x" } } } }),
  text: extract("TEXT"),
  "some text": extract("TEXT", { max_characters: 9 }),
  "lines with z": extract("TEXT", { pattern: "z|^$|\\{" }),
  rows: extract("ROWS"),
  "one row": extract("ROWS", { max_rows: 1 }),
  "rows without a header": extract("ROWS", { no_header: true }),
  "rows between semicolons": extract("ROWS", { delimiter: ";" }),
  metadata: extract("METADATA"),
  "metadata between semicolons": extract("METADATA", { delimiter: ";" }),
  entries: extract("ENTRIES", { max_rows: 1 }),
  minified: optimize({ minify: true }),
  packed: optimize({ gzip: true }),
  "neither minified nor packed": optimize({}),
  "with a width": optimize({ max_width: 5 }),
};

/** What a large file can be asked for, whatever else is refused. */
const streamable = new Set(
  ["table", "table without a last line break", "lines", "lists", "text", "page", "archive"].flatMap((input) => {
    const tables = ["to CSV", "to CSV with tabs", "to JSON", "to indented JSON", "to NDJSON", "to XML", "to indented XML", "rows", "one row", "minified"];
    const texts = ["valid by its type", "text", "some text", "lines with z", "metadata", "packed"];
    const isTable = /^(?:table|lines|lists)/.test(input);
    const asked =
      input === "archive" ? ["entries", "metadata", "valid by its type", "packed"] : [...texts, ...(isTable ? [...tables, "valid by its rows"] : [])];
    return asked.map((operation) => `${input}: ${operation}`);
  }),
);

/** What only small files may be. */
const needsWhole = /^LIMIT\.BODY: .* has to be read whole, and the file is larger than 10485760 bytes$/;
/** A stream tells the first line that is no JSON, not the first character that is no JSON of the whole. */
const withoutDetail = (seen: Seen): string => JSON.stringify(seen).replace(/document is not valid JSON: [^"]*/g, "…");

/** That the last character is cut, a stream learns after it has refused, or begun to write. */
const isToldTooLate = (input: string, operation: string): boolean =>
  input === "a cut character" && ["to a picture", "from semicolons", "entries", "packed", "neither minified nor packed", "with a width"].includes(operation);
const pairs = Object.keys(inputs).flatMap((input) => Object.keys(operations).map((operation) => [input, operation] as const));

test.each(pairs.filter(([input, operation]) => !isToldTooLate(input, operation)))("%s: %s", async (input, operation) => {
  const bytes = inputs[input] as Buffer;
  const asked = operations[operation] as Operation;
  const expected = withoutDetail(await whole(asked, bytes));
  for (const size of [1, 3, 64, 1_000_000]) {
    const seen = await streamed(asked, bytes, size);
    if (seen.fault === undefined || !needsWhole.test(seen.fault)) expect(withoutDetail(seen)).toBe(expected);
    else expect(streamable.has(`${input}: ${operation}`)).toBe(false);
  }
});

test("packing streams what is worth it, and leaves alone what is not", async () => {
  const rows = Buffer.from(`a,b\n${"lorem,ipsum\n".repeat(200_000)}`);
  const packed = await streamed(optimize({ minify: true, gzip: true }), rows, 65_536);
  expect(packed.mediaType).toBe("application/gzip");
  expect(gunzipSync(Buffer.from(packed.text ?? "", "latin1")).equals(rows)).toBe(true);
  const noise = gzipSync(randomBytes(2_000_000));
  expect(await streamed(optimize({ gzip: true }), noise, 65_536)).toEqual({ mediaType: "application/gzip", text: noise.toString("latin1") });
});

test("a line or a field that never ends is refused before it fills the memory", async () => {
  const endless = Buffer.from(`a,b\n1,2\n1,"${"x".repeat(17 * 1024 * 1024)}`);
  expect(await streamed(convert("application/json"), endless, 262_144)).toMatchObject({ fault: expect.stringMatching(/^LIMIT\.FIELD: /) });
  const long = Buffer.from(`{"a":1}\n{"a":"${"x".repeat(11 * 1024 * 1024)}`);
  expect(await streamed(convert("text/csv"), long, 262_144)).toMatchObject({ fault: expect.stringMatching(/^LIMIT\.FIELD: line 2 /) });
});

test("long names that stand in every row do not make large pieces of small ones", async () => {
  const names = Array.from({ length: 1_000 }, (_, n) => `${n}${"n".repeat(50)}`).join(",");
  const bytes = Buffer.from(`${names}\n${`${"1,".repeat(999)}1\n`.repeat(300)}`);
  const sizes: number[] = [];
  async function* read(): AsyncIterable<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 262_144) yield bytes.subarray(at, at + 262_144);
  }
  const sink = { begin: () => undefined, write: async (piece: Uint8Array) => void sizes.push(piece.length) };
  const outcome = await doStreamTask({ task: convert("application/json"), source: { sizeBytes: bytes.length, read }, ...sink });
  expect(outcome).toEqual({ ok: true, value: {} });
  expect(sizes.reduce((sum, size) => sum + size)).toBeGreaterThan(20 * bytes.length);
  expect(Math.max(...sizes)).toBeLessThan(1024 * 1024);
});

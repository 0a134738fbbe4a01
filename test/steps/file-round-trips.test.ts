/** Whatever rows and documents there are: what one format holds of them, the next one gives back. */
import { expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { doFileJob } from "../../src/steps/files/file-job-table.ts";
import { fc } from "../support/property.ts";

const runs = { numRuns: 150 };

async function convert(source: string, to: string, options: JsonObject = {}): Promise<string> {
  const done = await doFileJob({ kind: "convert", options: { to_media_type: to, ...options }, bytes: Buffer.from(source) });
  if (!done.ok) throw new Error(`${done.fault.name}: ${done.fault.message}\n${source}`);
  return Buffer.from((done.value as { bytes: Uint8Array }).bytes).toString();
}
async function minify(source: string): Promise<string> {
  const done = await doFileJob({ kind: "optimize", options: { minify: true }, bytes: Buffer.from(source) });
  if (!done.ok) throw new Error(`${done.fault.name}: ${done.fault.message}\n${source}`);
  return Buffer.from((done.value as { bytes: Uint8Array }).bytes).toString();
}
const json = async (source: string, options: JsonObject = {}): Promise<Json> => JSON.parse(await convert(source, "application/json", options)) as Json;

/** Texts with everything that has ever broken a writer, without what JSON of the service refuses. */
const nasty = fc.constantFrom(
  "",
  " ",
  "\t",
  "\n",
  "\r\n",
  "\r",
  '"',
  "'",
  ",",
  ";",
  "|",
  ":",
  "-",
  "#",
  "&",
  "<",
  ">",
  "]]>",
  "null",
  "true",
  "1e3",
  "0x1",
  "007",
  "日本",
  "😀",
  "\u2028",
  "a",
  "%",
  "@",
  "=",
  "+",
  "!!x",
  "*a",
  "&a",
  "{",
  "[",
  "~",
  "yes",
  "---",
  "...",
  "?",
);
const text = fc.array(nasty, { maxLength: 4 }).map((parts) => parts.join(""));
const name = fc.stringMatching(/^[a-z_][a-z0-9_]{0,5}$/);
const rowsOf = <Value>(cell: fc.Arbitrary<Value>) =>
  fc
    .uniqueArray(name, { minLength: 2, maxLength: 4 })
    .chain((names) =>
      fc
        .array(fc.tuple(...names.map(() => cell)), { minLength: 2, maxLength: 4 })
        .map((rows) => rows.map((row) => Object.fromEntries(row.map((value, index) => [names[index] as string, value])))),
    );
const plain: fc.Arbitrary<Json> = fc.oneof(
  text,
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
  fc.boolean(),
  fc.constant(null),
);
const document = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, plain, fc.array(tie("value"), { maxLength: 3 }), fc.dictionary(text, tie("value"), { maxKeys: 3 }) as fc.Arbitrary<Json>),
})).value;
const container = fc.oneof(fc.array(document, { maxLength: 3 }), fc.dictionary(text, document, { maxKeys: 3 }) as fc.Arbitrary<Json>);
/** Whole numbers of 16 digits and more are text, here as everywhere. */
const asRead = (value: Json): Json =>
  JSON.parse(JSON.stringify(value), (_, part: Json) =>
    typeof part === "number" && Number.isInteger(part) && !Number.isSafeInteger(part) ? expect.anything() : part,
  ) as Json;

test("documents through YAML and back", async () => {
  await fc.assert(
    fc.asyncProperty(container, async (value) => {
      expect(await json(await convert(JSON.stringify(value), "application/yaml"))).toEqual(asRead(value));
    }),
    runs,
  );
});

test("lists through NDJSON and back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.dictionary(text, document, { minKeys: 1, maxKeys: 3 }) as fc.Arbitrary<Json>, { minLength: 2, maxLength: 4 }),
      async (value) => {
        expect(await json(await convert(JSON.stringify(value), "application/x-ndjson"))).toEqual(asRead(value));
      },
    ),
    runs,
  );
});

test("rows of text through CSV and back, with an apostrophe before what a spreadsheet would run", async () => {
  const exported = (cell: string): string => (/^(?:[=@\t\r]|[+-](?!\d+(?:\.\d+)?$))/.test(cell) ? `'${cell}` : cell);
  await fc.assert(
    fc.asyncProperty(rowsOf(text), fc.constantFrom(",", ";", "\\t", "|"), async (rows, delimiter) => {
      const csv = await convert(JSON.stringify(rows), "text/csv", { delimiter });
      const expected = rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, cell]) => [key, exported(cell)])));
      expect(await json(csv, { delimiter })).toEqual(expected);
      // Needless quotes go, no cell does.
      const small = await minify(csv);
      expect(await json(small, { delimiter })).toEqual(expected);
    }),
    runs,
  );
});

test("rows of text through XML and back, indented or not, minified or not", async () => {
  await fc.assert(
    fc.asyncProperty(rowsOf(text), fc.boolean(), async (rows, pretty) => {
      const xml = await convert(JSON.stringify(rows), "application/xml", { pretty });
      expect(await json(xml)).toEqual({ root: { item: rows } });
      expect(await json(await minify(xml))).toEqual({ root: { item: rows } });
    }),
    runs,
  );
});

test("JSON minified is the same JSON", async () => {
  await fc.assert(
    fc.asyncProperty(container, fc.constantFrom(" ", "\t", 4), async (value, space) => {
      const pretty = JSON.stringify(value, null, space);
      const small = await minify(pretty);
      expect(JSON.parse(small)).toEqual(JSON.parse(pretty));
      expect(small.length).toBeLessThanOrEqual(pretty.length);
    }),
    runs,
  );
});

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { readCsv } from "../../src/steps/csv-table.ts";
import { readFileContent } from "../../src/steps/file-formats.ts";
import { fileProcess } from "../../src/steps/file-process.ts";
import { parseJsonText } from "../../src/steps/json-text.ts";
import type { HttpEgress, StepOutcome } from "../../src/steps/step-handler.ts";
import { type MisbehavingServer, startMisbehavingServer } from "./misbehaving-server.ts";
import { attemptOf, failureIn, localEgress, problemsOf, resultIn, servicesOf } from "./step-call.ts";

let server: MisbehavingServer;
let egress: HttpEgress & AsyncDisposable;
beforeAll(async () => {
  server = await startMisbehavingServer();
  egress = localEgress();
});
afterAll(async () => {
  await egress[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

function process(source: JsonObject, operation: JsonObject, scope: JsonObject = {}): Promise<StepOutcome> {
  return Promise.resolve(fileProcess.run(attemptOf(fileProcess, { source, ...operation }, scope), servicesOf(egress)));
}
async function extract(text: string, options: JsonObject = {}): Promise<JsonObject> {
  return resultIn(await process({ text }, { extract: options })) as JsonObject;
}
async function violations(text: string, rules: JsonObject): Promise<string[]> {
  const result = resultIn(await process({ text }, { validate: { ...rules, report_only: true } })) as { violations: { rule: string; message: string }[] };
  return result.violations.map(({ rule, message }) => `${rule}: ${message}`);
}
async function failedAs(outcome: Promise<StepOutcome>): Promise<string> {
  const { failure } = failureIn(await outcome);
  return `${failure.name}: ${failure.message}`;
}

describe("the type of a file", () => {
  test.each([
    ["image/png", Buffer.from("89504e470d0a1a0a0000", "hex")],
    ["image/jpeg", Buffer.from("ffd8ffe000104a464946", "hex")],
    ["image/webp", Buffer.from("524946460000000057454250", "hex")],
    ["application/pdf", Buffer.from("%PDF-1.7\n")],
    ["application/zip", Buffer.from("504b03041400", "hex")],
    ["application/gzip", gzipSync("a,b\n1,2\n")],
    ["application/json", Buffer.from(' {"a":1} ')],
    ["application/json", Buffer.from('\ufeff{"a":1}')],
    ["application/json", Buffer.from("[]")],
    ["application/x-ndjson", Buffer.from('{"a":1}\n{"a":2}\n')],
    ["application/xml", Buffer.from('<?xml version="1.0"?><a/>')],
    ["text/html", Buffer.from("<!DOCTYPE html><html></html>")],
    ["text/csv", Buffer.from("a,b\n1,2\n")],
    ["text/csv", Buffer.from('a;b\r\n"x;y";2\r\n')],
    ["text/csv", Buffer.from("a\tb\n1\t2\n")],
    ["text/plain", Buffer.from("just words, and more\nwords without an end")],
    ["text/plain", Buffer.from("{not json")],
    ["text/plain", Buffer.from("")],
    ["application/octet-stream", Buffer.from([0x41, 0xff, 0x42])],
    ["application/octet-stream", Buffer.from("a\u0000b")],
    ["application/octet-stream", Buffer.from("\ufeffa,b", "utf16le")],
  ])("%s is read from its bytes", (expected, bytes) => {
    expect(readFileContent(bytes).mediaType).toBe(expected);
  });

  test.each([
    [Buffer.concat([Buffer.from("first\nsecond é "), Buffer.from([0xc3, 0x28])]), /broken at byte 16, line 2/],
    [Buffer.concat([Buffer.from("\ufffd genuine "), Buffer.from([0xff])]), /broken at byte 12, line 1/],
    [Buffer.from([0xed, 0xa0, 0x80]), /broken at byte 0, line 1$/],
    [Buffer.from("\ufeffa,b", "utf16le"), /broken at byte 0, line 1; it begins like utf-16le, which convert reads/],
    [Buffer.from("a\nb\u0000"), /NUL character at byte 3, line 2/],
    [Buffer.concat([Buffer.from("\u0000"), Buffer.from([0xff])]), /NUL character at byte 0, line 1/],
  ])("names the place where text is broken (%#)", (bytes, expected) => {
    const { textProblem } = readFileContent(bytes);
    expect(textProblem?.name).toBe("SCHEMA");
    expect(textProblem?.message).toMatch(expected);
  });
});

describe("JSON text", () => {
  const parse = (text: string): Json | string => {
    const parsed = parseJsonText(text, "document");
    return parsed.ok ? parsed.value : `${parsed.fault.name}: ${parsed.fault.message}`;
  };

  test("is taken up to 32 levels and refused beyond, before it is built", () => {
    expect(parse("[".repeat(32) + "]".repeat(32))).toBeInstanceOf(Array);
    expect(parse("[".repeat(33) + "]".repeat(33))).toBe("LIMIT.DEPTH: document is nested deeper than 32 levels");
    const startedAt = performance.now();
    expect(parse("[".repeat(5_000_000))).toMatch(/^LIMIT\.DEPTH/);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(parse(JSON.stringify(`${"[".repeat(100)}\\"{{{{`))).toBe(`${"[".repeat(100)}\\"{{{{`);
  });

  test("keeps whole numbers above 2^53 as text and others as numbers", () => {
    expect(parse('[9007199254740991, 9007199254740993, -12345678901234567890, 1e20, 0.12345678901234568, "9007199254740993"]')).toEqual([
      9007199254740991,
      "9007199254740993",
      "-12345678901234567890",
      1e20,
      0.12345678901234568,
      "9007199254740993",
    ]);
  });

  test.each([
    ['{"a":["x\\u0000"]}', "SCHEMA: document.a[0] contains a NUL character (U+0000)"],
    ['{"a":"\\ud800"}', /^SCHEMA: document\.a /],
    ["[1e999]", "SCHEMA: document[0] is not a finite number"],
    ["{'a':1}", /^SCHEMA: document is not valid JSON: .*position 1/],
    ["", /^SCHEMA: document is not valid JSON/],
  ])("%j is refused with its place", (text, expected) => {
    expect(parse(text)).toEqual(typeof expected === "string" ? expected : expect.stringMatching(expected));
  });
});

describe("CSV", () => {
  const read = async (text: string, options: { delimiter?: string; hasHeader?: boolean; rowsMax?: number } = {}) => {
    const table = await readCsv(text, { hasHeader: true, rowsMax: 10_000, ...options });
    return table.ok ? table.value : `${table.fault.name}: ${table.fault.message}`;
  };

  test.each([
    ["quotes, line breaks and doubled quotes", 'a,b\n"x, ""y""\nz",2\n', { columns: ["a", "b"], rows: [['x, "y"\nz', "2"]], truncated: false }],
    ["CRLF and empty lines", "a,b\r\n\r\n1,2\r\n\r\n", { columns: ["a", "b"], rows: [["1", "2"]], truncated: false }],
    ["no final line break", "a,b\n1,2", { columns: ["a", "b"], rows: [["1", "2"]], truncated: false }],
    ["nameless columns", "a,,\n1,2,3", { columns: ["a", "column_2", "column_3"], rows: [["1", "2", "3"]], truncated: false }],
    ["nothing at all", "", { columns: [], rows: [], truncated: false }],
    ["formulas, left as they are", 'a,b\n=1+1,"@x"\n', { columns: ["a", "b"], rows: [["=1+1", "@x"]], truncated: false }],
    ["cells that look like code", "a,b\n{{x}},<b>\n", { columns: ["a", "b"], rows: [["{{x}}", "<b>"]], truncated: false }],
  ])("reads %s", async (_, text, expected) => {
    expect(await read(text)).toEqual(expected);
  });

  test.each([
    ["a row of another width", "a,b\n1,2\n3\n", /^SCHEMA: .*line 3/],
    ["a quote that never ends", 'a,b\n1,"2\n3,4\n', /^SCHEMA: /],
    ["a quote in the middle", 'a,b\n1,x"2"\n', /^SCHEMA: .*line 2/],
    ["a column named twice", "a, a\n1,2\n", /^SCHEMA: .*"a" twice/],
    ["more than 1,000 columns", `${"a,".repeat(1_000)}a\n`, /^LIMIT\.COLUMNS: /],
    ["a field of more than 1 MiB", `a,b\n${"x".repeat(1024 * 1024 + 1)},1\n`, /^LIMIT\.FIELD: /],
  ])("refuses %s", async (_, text, expected) => {
    expect(await read(text)).toMatch(expected);
  });

  test("stops at the rows asked for, without reading the rest", async () => {
    expect(await read(`a\n1\n2\n3\n${'"broken'.repeat(50_000)}`, { rowsMax: 2 })).toEqual({ columns: ["a"], rows: [["1"], ["2"]], truncated: true });
    expect(await read("a\n1\n2\n", { rowsMax: 2 })).toMatchObject({ truncated: false });
    expect(await read("1\n2\n3\n", { rowsMax: 2, hasHeader: false })).toEqual({ columns: [], rows: [["1"], ["2"]], truncated: true });
  });

  test("of 10 MiB lets others work meanwhile", async () => {
    const text = `a,b,c\n${"lorem ipsum,12345,x\n".repeat(500_000)}`;
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    expect(await read(text, { rowsMax: 1_000_000 })).toMatchObject({ columns: ["a", "b", "c"] });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(20);
  });
});

describe("extract", () => {
  test("ROWS gives CSV rows as objects with their columns", async () => {
    expect(await extract("id;name\n1;Ann\n2;Bob\n", { target: "FILE_EXTRACT_TARGET_ROWS" })).toMatchObject({
      media_type: "text/csv",
      size_bytes: 20,
      columns: ["id", "name"],
      rows: [
        { id: "1", name: "Ann" },
        { id: "2", name: "Bob" },
      ],
      row_count: 2,
      truncated: false,
    });
  });

  test.each<[string, string, JsonObject, JsonObject]>([
    [
      "CSV without a header",
      "1,2\n3,4\n",
      { no_header: true },
      {
        columns: [],
        rows: [
          ["1", "2"],
          ["3", "4"],
        ],
      },
    ],
    ["CSV with its own delimiter", "a#b\n1#2\n", { delimiter: "#" }, { rows: [{ a: "1", b: "2" }] }],
    ["CSV with one column", "a\n1\n2\n", {}, { rows: [{ a: "1" }, { a: "2" }] }],
    ["fewer rows than there are", "a,b\n1,2\n3,4\n", { max_rows: 1 }, { rows: [{ a: "1", b: "2" }], row_count: 1, truncated: true }],
    ["a JSON list", '[{"a":1},{"b":2}]', {}, { columns: ["a", "b"], rows: [{ a: 1 }, { b: 2 }], row_count: 2 }],
    ["a JSON object", '{"a":1}', {}, { rows: [{ a: 1 }] }],
    ["NDJSON", '{"a":1}\n{"a":2}\n', {}, { rows: [{ a: 1 }, { a: 2 }], media_type: "application/x-ndjson" }],
    ["what select picks from JSON", '{"data":{"items":[{"a":1},{"a":2}]}}', { select: "document.data.items.filter(x, x.a > 1.0)" }, { rows: [{ a: 2 }] }],
    ["what select picks from CSV", "a,b\n1,2\n3,4\n", { select: "document.filter(r, r.a == '3')" }, { rows: [{ a: "3", b: "4" }] }],
    ["a tabulator named \\t", "a\tb,c\n1\t2\n", { delimiter: "\\t" }, { rows: [{ a: "1", "b,c": "2" }] }],
    [
      "XML, whatever wraps them",
      '<?xml version="1.0"?><list><row n="1"><a>x</a></row><row n="2"><a>y</a></row></list>',
      {},
      {
        columns: ["a", "@n"],
        rows: [
          { a: "x", "@n": "1" },
          { a: "y", "@n": "2" },
        ],
      },
    ],
    ["YAML", "- a: 1\n  b: [x]\n- a: 2\n", {}, { columns: ["a", "b"], rows: [{ a: 1, b: ["x"] }, { a: 2 }] }],
    ["what select picks from YAML", "data:\n  items: [{a: 1}, {a: 2}]\n", { select: "document.data.items" }, { rows: [{ a: 1 }, { a: 2 }] }],
    ["what select picks from XML", "<l><i>1</i><i>2</i></l>", { select: "document.l.i" }, { rows: ["1", "2"] }],
    ["a CSV that looks like YAML, by its delimiter", "a: x,b\nc: y,d\n", { delimiter: "," }, { rows: [{ "a: x": "c: y", b: "d" }] }],
    ["a CSV that looks like JSON, by its delimiter", "[a;b\n1;2\n", { delimiter: ";" }, { rows: [{ "[a": "1", b: "2" }] }],
    ["a CSV that looks like XML, by its delimiter", "<a>;b\n1;2\n", { delimiter: ";" }, { rows: [{ "<a>": "1", b: "2" }] }],
    ["a CSV that only looks like YAML", "a: b,c\nx,y: {\n", {}, { columns: ["a: b", "c"], rows: [{ "a: b": "x", c: "y: {" }] }],
  ])("ROWS of %s", async (_, text, options, expected) => {
    expect(await extract(text, { target: "FILE_EXTRACT_TARGET_ROWS", ...options })).toMatchObject(expected);
  });

  test("a column called __proto__ is a plain key", async () => {
    const { rows } = (await extract("__proto__,b\nx,2\n", { target: "FILE_EXTRACT_TARGET_ROWS" })) as { rows: JsonObject[] };
    expect(JSON.stringify(rows)).toBe('[{"__proto__":"x","b":"2"}]');
  });

  test.each<[string, string, JsonObject, JsonObject]>([
    ["all of it by default", "some text", {}, { text: "some text", truncated: false }],
    ["its beginning", "some text", { max_characters: 4 }, { text: "some", truncated: true }],
    ["whole characters only", "ab😀", { max_characters: 3 }, { text: "ab\ufffd", truncated: true }],
    ["the lines with a pattern", "ERROR a\ninfo b\r\nERROR c", { pattern: "^ERROR" }, { text: "ERROR a\nERROR c" }],
    ["a selected member", '{"a":{"b":"deep"}}', { select: "document.a.b" }, { text: "deep" }],
    ["a selected object as JSON", '{"a":{"b":1}}', { select: "document.a" }, { text: '{"b":1}' }],
    ["without a byte order mark", "\ufeffx", {}, { text: "x" }],
  ])("TEXT gives %s", async (_, text, options, expected) => {
    expect(await extract(text, options)).toMatchObject(expected);
  });

  test("METADATA describes without the content", async () => {
    const csv = "a,b\n1,2\n3,4\n";
    expect(await extract(csv, { target: "FILE_EXTRACT_TARGET_METADATA" })).toEqual({
      media_type: "text/csv",
      size_bytes: 12,
      sha256: createHash("sha256").update(csv).digest("hex"),
      characters: 12,
      lines: 3,
      columns: ["a", "b"],
      row_count: 2,
    });
    expect(await extract("one\ntwo", { target: "FILE_EXTRACT_TARGET_METADATA" })).toMatchObject({ lines: 2, characters: 7 });
  });

  test.each<[string, string, JsonObject, RegExp]>([
    ["a delimiter of JSON", "[1]", { target: "FILE_EXTRACT_TARGET_ROWS", delimiter: ";" }, /^SCHEMA: delimiter has no meaning for application\/json/],
    [
      "a header of XML",
      '<?xml version="1.0"?><a/>',
      { target: "FILE_EXTRACT_TARGET_ROWS", no_header: true },
      /^SCHEMA: no_header has no meaning for application\/xml/,
    ],
    ["rows of broken JSON", "{nope", { target: "FILE_EXTRACT_TARGET_ROWS" }, /^SCHEMA: document is not valid JSON/],
    ["rows of uneven CSV", "a,b\n1\n", { target: "FILE_EXTRACT_TARGET_ROWS" }, /^SCHEMA: .*line 2/],
    ["a select that is no list", '{"a":1}', { target: "FILE_EXTRACT_TARGET_ROWS", select: "document.a" }, /^EXPRESSION: /],
    ["a select of a missing key", "{}", { select: "document.a.b" }, /^EXPRESSION: /],
    ["text with NUL", "a\u0000b", {}, /^SCHEMA: .*NUL character at byte 1/],
    ["a pattern that costs too much", `${"ab".repeat(200_000)}`, { pattern: "[ab]*a[ab]{200}[cd]" }, /^LIMIT\.EXPRESSION: /],
  ])("refuses %s", async (_, text, options, expected) => {
    const startedAt = performance.now();
    expect(await failedAs(process({ text }, { extract: options }))).toMatch(expected);
    expect(performance.now() - startedAt).toBeLessThan(15_000);
  });
});

describe("validate", () => {
  test("gives identity and no violations for a good file, and fails with all of it for a bad one", async () => {
    const text = "id,name\n1,Ann\n";
    const sha256 = createHash("sha256").update(text).digest("hex");
    const rules = { media_types: ["text/*"], sha256: sha256.toUpperCase(), required_columns: ["id"], max_rows: "1" };
    const good = { valid: true, violations: [], media_type: "text/csv", size_bytes: 14, sha256 };
    expect(resultIn(await process({ text }, { validate: rules }))).toEqual(good);
    const { failure } = failureIn(await process({ text: `${text}2,Bob\n` }, { validate: rules }));
    expect(failure.name).toBe("SCHEMA");
    expect(failure.message).toMatch(/^the file is not valid: the file's digest is [0-9a-f]{64} \(and 1 more\)$/);
    expect(failure.details).toMatchObject({ valid: false, violations: [{ rule: "sha256" }, { rule: "max_rows" }] });
  });

  test.each<[string, string, JsonObject, (string | RegExp)[]]>([
    [
      "the wrong type, with the reason",
      '{"a":',
      { media_types: ["application/json"] },
      [/^media_types: the file is text\/plain, not application\/json: document is not valid JSON/],
    ],
    ["CSV of a single column or line", "id\n1\n", { media_types: ["text/csv"] }, []],
    ["a missing column", "a,b\n1,2\n", { required_columns: ["a", "c"] }, ['required_columns: column "c" is missing']],
    ["a column missing in one JSON row", '[{"a":1},{"b":1}]', { required_columns: ["a"] }, ['required_columns: column "a" is missing in row 2']],
    ["an inherited name as a column", '[{"a":1}]', { required_columns: ["constructor"] }, ['required_columns: column "constructor" is missing in row 1']],
    ["too many rows", "a,b\n1,2\n3,4\n", { max_rows: 1 }, ["max_rows: the file has 2 rows, more than 1"]],
    ["broken CSV", 'a,b\n1,"2\n', { required_columns: ["a"] }, [/^required_columns: the CSV is not valid/]],
    ["a schema that fits", '{"id":7}', { json_schema: { type: "object", required: ["id"], properties: { id: { type: "integer" } } } }, []],
    ["a schema that does not fit", '{"id":"x"}', { json_schema: { properties: { id: { type: "integer" } } } }, [/^json_schema: id: .*integer/]],
    ["a schema on the rows of a table", "a,b\n1,2\nx,3\n", { json_schema: { properties: { a: { pattern: "^[0-9]+$" } } } }, [/^json_schema: row 2, a: /]],
    ["a schema on YAML", "a: x\n", { json_schema: { properties: { a: { type: "integer" } } } }, [/^json_schema: a: .*integer/]],
    ["a schema on XML", "<a><b>1</b></a>", { json_schema: { required: ["c"] } }, [/^json_schema: document: .*c/]],
    ["a schema on prose", "just words", { json_schema: {} }, ["json_schema: the file is text/plain, neither a document nor a table"]],
    ["too many rows in XML", "<l><i><a>1</a></i><i><a>2</a></i></l>", { max_rows: 1 }, ["max_rows: the file has 2 rows, more than 1"]],
    ["a column missing in a row of YAML", "- a: 1\n- b: 1\n", { required_columns: ["a"] }, ['required_columns: column "a" is missing in row 2']],
  ])("reports %s", async (_, text, rules, expected) => {
    const found = await violations(text, rules);
    expect(found).toEqual(expected.map((one) => (typeof one === "string" ? one : expect.stringMatching(one))));
  });
});

describe("the source", () => {
  test("may be fetched, and its label is not believed", async () => {
    const result = resultIn(await process({ url: `${server.origin}/garbage` }, { extract: {} }));
    expect(result).toMatchObject({ media_type: "text/html", text: "<html>" });
  });

  test.each([
    ["/status/404", /^HTTP\.404: /],
    ["/endless", /^LIMIT\.BODY: /],
    ["/reset-late", /^NETWORK: /],
    ["/redirect/302", /^HTTP\.302: /],
  ])("fails as the request for %s does", async (path, expected) => {
    expect(await failedAs(process({ url: `{{origin}}${path}` }, { extract: {} }, { origin: server.origin }))).toMatch(expected);
  });

  test("is held to its size and kept inside the egress rules", async () => {
    expect(await failedAs(process({ text: "é".repeat(6), max_bytes: "11" }, { extract: {} }))).toMatch(/^LIMIT\.BODY: the text has 12 bytes/);
    expect(await failedAs(process({ url: `${server.origin}/ok`, max_bytes: 5 }, { extract: {} }))).toMatch(/^LIMIT\.BODY: /);
    expect(await failedAs(process({ url: "http://169.254.169.254/" }, { extract: {} }))).toMatch(/^LIMIT\.EGRESS: /);
  });
});

test.each<[JsonObject, string[]]>([
  [{ source: { text: "x" } }, ["validate: VALIDATION_FAILED"]],
  [{ extract: {} }, ["source: VALIDATION_FAILED"]],
  [{ source: {}, extract: {} }, ["source: VALIDATION_FAILED"]],
  [{ source: { url: "file:///etc/passwd" }, extract: {} }, ["source.url: EGRESS_BLOCKED"]],
  [{ source: { text: "x", max_bytes: "104857601" }, extract: {} }, ["source.max_bytes: LIMIT_EXCEEDED"]],
  [{ source: { text: "x" }, convert: {} }, ["convert.to_media_type: VALIDATION_FAILED"]],
  [{ source: { text: "x" }, extract: { target: "FILE_EXTRACT_TARGET_ENTRIES", no_header: true } }, ["extract.no_header: VALIDATION_FAILED"]],
  [{ source: { text: "x" }, extract: { target: "FILE_EXTRACT_TARGET_ROWS", delimiter: ",," } }, ["extract.delimiter: VALIDATION_FAILED"]],
  [{ source: { text: "x" }, extract: { max_rows: 10_001, target: "FILE_EXTRACT_TARGET_ROWS" } }, ["extract.max_rows: LIMIT_EXCEEDED"]],
  [{ source: { text: "x" }, extract: { max_characters: 1_000_001 } }, ["extract.max_characters: LIMIT_EXCEEDED"]],
  [{ source: { text: "x" }, extract: { max_rows: 5, no_header: true } }, ["extract.max_rows: VALIDATION_FAILED", "extract.no_header: VALIDATION_FAILED"]],
  [{ source: { text: "x" }, extract: { target: "FILE_EXTRACT_TARGET_METADATA", select: "document" } }, ["extract.select: VALIDATION_FAILED"]],
  [{ source: { text: "x" }, extract: { pattern: "(" } }, ["extract.pattern: VALIDATION_FAILED"]],
  [{ source: { text: "x" }, extract: { pattern: "(a)\\1" } }, ["extract.pattern: VALIDATION_FAILED"]],
  [{ source: { text: "x" }, extract: { pattern: "a", target: "FILE_EXTRACT_TARGET_ROWS" } }, ["extract.pattern: VALIDATION_FAILED"]],
  [
    { source: { text: "x" }, validate: { media_types: ["csv"], sha256: "abc" } },
    ["validate.media_types[0]: VALIDATION_FAILED", "validate.sha256: VALIDATION_FAILED"],
  ],
  [{ source: { text: "x" }, validate: { json_schema: { $ref: "#/nowhere" } } }, ["validate.json_schema: SCHEMA_INVALID"]],
])("%j is refused at save", (config, expected) => {
  expect(problemsOf(fileProcess, config)).toEqual(expected);
});

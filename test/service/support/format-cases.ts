/** What each file of test/fixtures is put through, and what has to come out of it. Written by hand from what make.py puts in. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { asText, convert, type Element, everyDocument, extract, type FormatCase, namedRows, optimize, type Row, validate } from "./format-case.ts";
import { images } from "./image-format-cases.ts";

const people: Row[] = [
  { id: "007", name: "O'Hara, Zoë", note: 'says "hi"\r\nand goes', amount: "12.50" },
  { id: "008", name: "日本 太郎", note: "=1+1", amount: "-5" },
  { id: "009", name: "{{steps.x}}", note: "<b>&amp;</b>", amount: "+49 30 1" },
];
const peopleExported = [people[0] as Row, { ...people[1], note: "'=1+1" }, { ...people[2], amount: "'+49 30 1" }];
const prices: Row[] = [
  { name: "José", price: "5 €" },
  { name: "Åsa", price: "6 €" },
];

const csv: FormatCase[] = [
  validate("people.csv", {
    media_types: ["text/csv"],
    required_columns: ["id", "amount"],
    max_rows: 3,
    json_schema: { properties: { id: { pattern: "^\\d{3}$" } } },
  }),
  validate("people.csv", { max_rows: 2 }, { valid: false, violations: [{ rule: "max_rows", message: "the file has 3 rows, more than 2" }] }),
  validate("people.csv", { json_schema: { properties: { amount: { pattern: "^[-+]?[0-9.]+$" } } } }, { valid: false, violations: [{ rule: "json_schema" }] }),
  extract("people.csv", "ROWS", { columns: ["id", "name", "note", "amount"], rows: people, row_count: 3, truncated: false }),
  extract("people.csv", "ROWS", { rows: [people[1]] }, { select: "document.filter(row, row.id == '008')" }),
  extract("people.csv", "TEXT", { text: expect.stringMatching(/^id,name,note,amount\r\n007,/), truncated: true }, { max_characters: 100 }),
  extract("people.csv", "METADATA", { media_type: "text/csv", columns: ["id", "name", "note", "amount"], row_count: 3, lines: 5 }),
  ...everyDocument("people.csv", people, peopleExported),
  optimize("people.csv", { minify: true }, "text/csv", { kind: "csv" }, people, namedRows),
  optimize("people.csv", { gzip: true }, expect.any(String) as unknown as string, { kind: "csv" }, people, (reading) => namedRows(reading)),
  extract("semicolons.csv", "ROWS", {
    rows: [
      { sku: "A-1", price: "1,50", text: "a;b" },
      { sku: "A-2", price: "2,00", text: "c" },
    ],
  }),
  optimize("semicolons.csv", { minify: true }, "text/csv", { kind: "csv", delimiter: ";" }, [
    ["sku", "price", "text"],
    ["A-1", "1,50", "a;b"],
    ["A-2", "2,00", "c"],
  ]),
  extract("tabs.tsv", "ROWS", {
    rows: [
      { sku: "A-1", price: "1.50" },
      { sku: "A-2", price: "2.00" },
    ],
  }),
  ...["hash.csv"].flatMap((file) => [
    extract(
      file,
      "ROWS",
      {
        rows: [
          { sku: "A-1", price: "1,50" },
          { sku: "A-2", price: "2,00" },
        ],
      },
      { delimiter: "#" },
    ),
    convert(
      file,
      "application/json",
      "json",
      [
        { sku: "A-1", price: "1,50" },
        { sku: "A-2", price: "2,00" },
      ],
      { options: { delimiter: "#" } },
    ),
  ]),
  ...everyDocument("windows-1252.csv", prices, prices, { charset: "windows-1252" }),
  convert("utf-16.csv", "application/json", "json", prices.slice(0, 1), { options: { charset: "utf-16le" } }),
  validate("utf-16.csv", { media_types: ["text/csv"] }, { valid: false, media_type: "application/octet-stream" }),
  extract(
    "no-header.csv",
    "ROWS",
    {
      columns: [],
      rows: [
        ["1", "2"],
        ["3", "4"],
        ["5", "6"],
      ],
    },
    { no_header: true },
  ),
  convert(
    "no-header.csv",
    "application/json",
    "json",
    [
      ["1", "2"],
      ["3", "4"],
      ["5", "6"],
    ],
    { options: { no_header: true } },
  ),
];

const items: Row[] = [
  { id: 1, name: "Zoë", tags: ["a", "b"], big: "9007199254740993", price: 1.1, gone: null },
  { id: 2, name: "日本", tags: [], big: 1, price: 2, gone: null },
];
const yamlItems: Row[] = [
  { id: 1, name: "Zoë", tags: ["a", "b"], note: "folded text\n" },
  { id: 2, name: "007", tags: [], note: null },
];
const xmlItems: Row[] = [
  { "@id": "1", "@kind": "a & b", name: "Zoë", note: "<b>" },
  { "@id": "2", name: "日本 A", note: "" },
];
/** Lists of XML repeat the element, and empty ones leave none. */
const itemsInXml = [
  [
    ["id", "1"],
    ["name", "Zoë"],
    ["tags", "a"],
    ["tags", "b"],
    ["big", "9007199254740993"],
    ["price", "1.1"],
    ["gone", ""],
  ],
  [
    ["id", "2"],
    ["name", "日本"],
    ["big", "1"],
    ["price", "2"],
    ["gone", ""],
  ],
];
const cellsOfXml = (reading: JsonValue): unknown => (reading as unknown as Element)[3].map(([, , , cells]) => cells.map(([tag, , text]) => [tag, text]));

const documents: FormatCase[] = [
  validate("items.json", { media_types: ["application/json"], json_schema: { required: ["items"], properties: { total: { const: 2 } } } }),
  validate("items.json", { json_schema: { properties: { total: { type: "string" } } } }, { valid: false, violations: [{ rule: "json_schema" }] }),
  extract("items.json", "ROWS", { rows: items }, { select: "document.items" }),
  extract("items.json", "TEXT", { text: "Zoë" }, { select: "document.items[0].name" }),
  extract("items.json", "METADATA", { media_type: "application/json", columns: ["items", "total"], row_count: 1 }),
  convert("items.json", "application/yaml", "yaml", { items, total: 2 }),
  convert("items.json", "application/x-ndjson", "ndjson", [{ items, total: 2 }]),
  convert("items.json", "application/json", "text", `${JSON.stringify({ items, total: 2 }, null, 2)}\n`, { options: { pretty: true } }),
  convert("items.json", "application/xml", "xml", "list", { options: { root_element: "list", pretty: true }, as: (reading) => (reading as JsonValue[])[0] }),
  convert("items.json", "text/csv", "csv", [{ items: JSON.stringify(items), total: "2" }], { as: namedRows }),
  // The digits stay, although numbers of that size are no longer numbers anywhere else.
  optimize(
    "items.json",
    { minify: true },
    "application/json",
    { kind: "text" },
    expect.stringMatching(/^\{"items":\[\{"id":1,"name":"Zoë",.*"big":9007199254740993,"price":1\.1,/),
  ),
  optimize("items.json", { minify: true, gzip: true }, "application/gzip", { kind: "gzip", inner: "json" }, expect.objectContaining({ total: 2 })),
  validate("items.ndjson", {
    media_types: ["application/x-ndjson"],
    required_columns: ["id", "tags"],
    max_rows: 2,
    json_schema: { type: "array", maxItems: 2 },
  }),
  extract("items.ndjson", "ROWS", { columns: ["id", "name", "tags", "big", "price", "gone"], rows: items, row_count: 2 }),
  extract("items.ndjson", "METADATA", { media_type: "application/x-ndjson", row_count: 2, lines: 2 }),
  ...everyDocument("items.ndjson", items, items).map((one) =>
    one.does["convert"] && (one.does["convert"] as JsonObject)["to_media_type"] === "application/xml" ? { ...one, says: itemsInXml, as: cellsOfXml } : one,
  ),
  optimize("items.ndjson", { minify: true }, "application/x-ndjson", { kind: "ndjson" }, [
    expect.objectContaining({ id: 1 }),
    expect.objectContaining({ id: 2 }),
  ]),
  validate("items.yaml", { required_columns: ["id", "note"], max_rows: 2, json_schema: { type: "array", items: { required: ["tags"] } } }),
  extract("items.yaml", "ROWS", { columns: ["id", "name", "tags", "note"], rows: yamlItems }),
  extract("items.yaml", "TEXT", { text: "folded text\n" }, { select: "document[0].note" }),
  convert("items.yaml", "application/json", "json", yamlItems),
  convert("items.yaml", "application/yaml", "yaml", yamlItems),
  convert("items.yaml", "text/csv", "csv", asText(yamlItems), { as: namedRows }),
  validate("items.xml", { media_types: ["application/xml"], required_columns: ["name"], max_rows: 2, json_schema: { required: ["list"] } }),
  extract("items.xml", "ROWS", { rows: xmlItems, row_count: 2 }),
  extract("items.xml", "TEXT", { text: "日本 A" }, { select: "document.list.item[1].name" }),
  extract("items.xml", "METADATA", { media_type: "application/xml", lines: 12 }),
  convert("items.xml", "application/json", "json", { list: { item: xmlItems } }),
  convert("items.xml", "application/yaml", "yaml", { list: { item: xmlItems } }),
  convert("items.xml", "application/x-ndjson", "ndjson", [{ list: { item: xmlItems } }]),
  convert("items.xml", "text/csv", "csv", expect.arrayContaining([expect.objectContaining({ name: "Zoë", note: "<b>" })]), { as: namedRows }),
  optimize("items.xml", { minify: true }, "application/xml", { kind: "xml" }, [
    "list",
    {},
    "",
    [
      [
        "item",
        { id: "1", kind: "a & b" },
        "",
        [
          ["name", {}, "Zoë", [], ""],
          ["note", {}, "<b>", [], ""],
        ],
        "",
      ],
      [
        "item",
        { id: "2" },
        "",
        [
          ["name", {}, "日本 A", [], ""],
          ["note", {}, "", [], ""],
        ],
        "",
      ],
    ],
    "",
  ]),
];

const workbookRows = [
  { sku: "007", name: 'Chair, "oak"', price: 12.5, sold: "2026-03-01T00:00:00.000Z", total: 25, ok: true },
  { sku: "=SUM(A1)", name: "Ünïcode & more", price: null, sold: "2026-03-01T18:00:00.000Z", total: null, ok: null },
];
const xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const workbooks: FormatCase[] = [
  validate("workbook.xlsx", {
    media_types: [xlsx],
    required_columns: ["sku", "ok"],
    max_rows: 2,
    json_schema: { properties: { price: { type: ["number", "null"] } } },
  }),
  validate(
    "workbook.xlsx",
    { json_schema: { required: ["sku"], properties: { ok: { const: true } } } },
    { valid: false, violations: [{ message: expect.stringMatching(/^row 2, ok: /) }] },
  ),
  extract("workbook.xlsx", "ROWS", {
    media_type: xlsx,
    columns: ["sku", "name", "price", "sold", "total", "ok"],
    rows: workbookRows,
    row_count: 2,
    truncated: false,
  }),
  extract("workbook.xlsx", "ROWS", { columns: [], rows: [["sku", "name", "price", "sold", "total", "ok"]], truncated: true }, { no_header: true, max_rows: 1 }),
  extract("workbook.xlsx", "ROWS", { rows: [workbookRows[0]] }, { select: "document.filter(row, row.ok == true)" }),
  extract("workbook.xlsx", "METADATA", { sheets: ["Stock", "Prices 2026", "7"], columns: ["sku", "name", "price", "sold", "total", "ok"], row_count: 2 }),
  extract("workbook.xlsx", "ENTRIES", { entry_count: 9, truncated: false }),
  convert("workbook.xlsx", "application/json", "json", workbookRows),
  convert("workbook.xlsx", "text/csv", "csv", asText([workbookRows[0] as Row, { ...workbookRows[1], sku: "'=SUM(A1)" }]), { as: namedRows }),
  optimize(
    "workbook.xlsx",
    { gzip: true },
    expect.any(String) as unknown as string,
    { kind: "gzip", inner: "xlsx" },
    expect.objectContaining({ sheets: ["Stock", "Prices 2026", "7"] }),
  ),
];

const archives: FormatCase[] = [
  validate("folder.zip", { media_types: ["application/zip"] }),
  extract("folder.zip", "ENTRIES", {
    entries: [
      { name: "docs/", size_bytes: 0, is_directory: true, is_encrypted: false },
      { name: "docs/läsmig.txt", size_bytes: 200, is_directory: false, modified_time: expect.stringMatching(/^2026-03-01T12:30:00/) },
      { name: "data.csv", size_bytes: 8, compressed_bytes: 8 },
    ],
    entry_count: 3,
    total_bytes: 208,
  }),
  extract("folder.zip", "METADATA", { entry_count: 3, total_bytes: 208 }),
];

const invoice = "Invoice 4711\npage 1\fTotal: 12,50 € für Zoë\npage 2";
const texts: FormatCase[] = [
  validate("invoice.pdf", { media_types: ["application/pdf"] }),
  extract("invoice.pdf", "TEXT", { media_type: "application/pdf", text: invoice }),
  extract("invoice.pdf", "TEXT", { text: "Total: 12,50 € für Zoë" }, { pattern: "EUR|€" }),
  extract("invoice.pdf", "METADATA", { pages: 2, characters: invoice.length }),
  validate("notes.txt", { media_types: ["text/plain"], sha256: "0".repeat(64) }, { valid: false, violations: [{ rule: "sha256" }] }),
  extract("notes.txt", "TEXT", { text: expect.stringMatching(/^ERROR disk full\nERROR disk full again\nERROR/) }, { pattern: "^ERROR" }),
  extract("notes.txt", "METADATA", { media_type: "text/plain", lines: 80, characters: 1240 }),
  optimize(
    "notes.txt",
    { gzip: true },
    "application/gzip",
    { kind: "gzip", inner: "text" },
    "INFO started\nERROR disk full\nINFO retry\nERROR disk full again\n".repeat(20),
  ),
  extract("readme.md", "TEXT", { media_type: "text/plain", text: expect.stringMatching(/^# Title & more\n/) }),
  convert("readme.md", "text/html", "html", [
    ["h1", {}],
    "Title & more",
    ["p", {}],
    "Some ",
    ["strong", {}],
    "bold",
    " text, ",
    ["code", {}],
    "code",
    " and a ",
    ["a", { href: "https://example.com/?a=1&b=2" }],
    "link",
    ".",
    ["table", {}],
    ["thead", {}],
    ["tr", {}],
    ["th", {}],
    "a",
    ["th", {}],
    "b",
    ["tbody", {}],
    ["tr", {}],
    ["td", {}],
    "1",
    ["td", {}],
    "2",
    ["ul", {}],
    ["li", {}],
    ["input", { checked: "", disabled: "", type: "checkbox" }],
    " done",
    "\n<script>alert(1)</script>",
    ["p", {}],
    "bad",
  ]),
  validate("page.html", { media_types: ["text/html"] }),
  extract("page.html", "TEXT", { text: "    <title>Page</title>" }, { pattern: "<title>" }),
  optimize(
    "page.html",
    { minify: true },
    "text/html",
    { kind: "text" },
    expect.stringMatching(/<p>One <b>two<\/b>\s+three<\/p>\s+<pre> {2}keep\n {3}this<\/pre>/),
  ),
  optimize("style.css", { minify: true }, "text/css", { kind: "text" }, '.a,.b > c{color:red;content:"/* no */"}@media (min-width: 10px){.a{margin:0 auto}}\n'),
];

export const formatCases: readonly FormatCase[] = [...csv, ...documents, ...workbooks, ...archives, ...texts, ...images];

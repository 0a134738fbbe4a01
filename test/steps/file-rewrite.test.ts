/** Files that become other files, on real threads; what comes out is read by another reader than the one that wrote it. */
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { zipSync } from "fflate";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { fileProcess } from "../../src/steps/file-process.ts";
import { memoryFiles } from "./memory-files.ts";
import { attemptOf, failureIn, problemsOf, resultIn, servicesOf } from "./step-call.ts";

const files = memoryFiles();
const services = servicesOf(undefined, undefined, { files });

async function outcomeOf(source: string | Buffer, operation: JsonObject, facts: object = {}) {
  const { id } = files.put("tenant-a", "report.data", Buffer.from(source));
  return await fileProcess.run(attemptOf(fileProcess, { source: { blob_id: "{{file}}" }, ...operation }, { file: id }, facts), services);
}
async function rewrite(source: string | Buffer, operation: JsonObject): Promise<{ bytes: Buffer; result: JsonObject; blob: JsonObject }> {
  const result = resultIn(await outcomeOf(source, operation)) as JsonObject;
  const blob = result["blob"] as JsonObject;
  const bytes = files.bytesOf(String(blob["blob_id"]));
  expect(result).toMatchObject({
    size_bytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    saved_bytes: Buffer.byteLength(source) - bytes.length,
  });
  expect(blob).toMatchObject({ media_type: result["media_type"], size_bytes: bytes.length, sha256: result["sha256"] });
  return { bytes, result, blob };
}
async function convert(source: string | Buffer, to: string, options: JsonObject = {}): Promise<string> {
  return (await rewrite(source, { convert: { to_media_type: to, ...options } })).bytes.toString();
}
async function refusal(source: string | Buffer, operation: JsonObject): Promise<string> {
  const { failure } = failureIn(await outcomeOf(source, operation));
  return `${failure.name}: ${failure.message}`;
}
const photo = (width = 64, height = 48) => sharp({ create: { width, height, channels: 4, background: { r: 200, g: 40, b: 10, alpha: 1 } } });

describe("convert of documents", () => {
  const csv = 'id,name\n007,Ann\n2,"Bob, ""B"""\n';
  const json = [
    { id: "007", name: "Ann" },
    { id: "2", name: 'Bob, "B"' },
  ];

  test("CSV becomes JSON, NDJSON, YAML and XML, and each of them CSV again", async () => {
    expect(JSON.parse(await convert(csv, "application/json"))).toEqual(json);
    const others = [
      await convert(csv, "application/x-ndjson"),
      await convert(csv, "application/yaml"),
      await convert(csv, "application/xml"),
      JSON.stringify(json),
    ];
    expect(
      others[0]
        ?.trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(json);
    expect(others[1]).toBe('- id: "007"\n  name: Ann\n- id: "2"\n  name: Bob, "B"\n');
    expect(others[2]).toContain("<root><item><id>007</id><name>Ann</name></item><item><id>2</id><name>Bob, &quot;B&quot;</name></item></root>");
    for (const other of others) expect(await convert(other, "text/csv")).toBe(csv);
  });

  test.each<[string, string, string, JsonObject, string]>([
    ["the other delimiter", "a;b\n1;2\n", "text/csv", { delimiter: "\\t" }, "a\tb\n1\t2\n"],
    ["no header", "1,2\n3,4\n", "application/json", { no_header: true }, '[["1","2"],["3","4"]]\n'],
    ["indentation", '{"a":[1]}', "application/json", { pretty: true }, '{\n  "a": [\n    1\n  ]\n}\n'],
    ["attributes and text", '<?xml version="1.0"?><a x="1">t &#65;<b/></a>', "application/json", {}, '{"a":{"b":"","#text":"t A","@x":"1"}}\n'],
    ["attributes of several lines", '{"@a":"x\\ny\\tz"}', "application/xml", {}, '<?xml version="1.0" encoding="UTF-8"?>\n<root a="x&#10;y&#9;z"/>\n'],
    ["a delimiter, whatever the text looks like", "a: x,b\nc: y,d\n", "application/json", { delimiter: "," }, '[{"a: x":"c: y","b":"d"}]\n'],
    [
      "a root of its own",
      '{"@id":1,"n":[1,2],"t":"<&>"}',
      "application/xml",
      { root_element: "doc" },
      '<?xml version="1.0" encoding="UTF-8"?>\n<doc id="1"><n>1</n><n>2</n><t>&lt;&amp;&gt;</t></doc>\n',
    ],
    ["large numbers of YAML", "a: 9007199254740993\nb: 5\n", "application/json", {}, '{"a":"9007199254740993","b":5}\n'],
    ["rows of unlike keys", '[{"a":1},{"b":{"c":null}}]', "text/csv", {}, 'a,b\n1,\n,"{""c"":null}"\n'],
    ["cells that a spreadsheet would run", '[{"a":"=1+1","b":"-5","c":"-x","d":"@s"}]', "text/csv", {}, `a,b,c,d\n"'=1+1",-5,"'-x","'@s"\n`],
  ])("with %s", async (_, source, to, options, expected) => {
    expect(await convert(source, to, options)).toBe(expected);
  });

  test("another character set is read when it is named", async () => {
    expect(await convert(Buffer.from("name,n\nJos\u00e9,1\n", "latin1"), "application/json", { charset: "iso-8859-1" })).toBe(
      '[{"name":"Jos\u00e9","n":"1"}]\n',
    );
    expect(await refusal(Buffer.from("name,n\nJos\u00e9,1\n", "latin1"), { convert: { to_media_type: "application/json" } })).toMatch(/^SCHEMA: .*not UTF-8/);
  });

  test("Markdown becomes HTML in which nothing runs", async () => {
    const html = await convert(
      "# Title\n\n<script>alert(1)</script>\n\n**b** <img onerror=x> [bad](javascript:alert(1)) [worse](java&#115;cript:x) [good](https://a.example/?q=1:2)\n",
      "text/html",
    );
    expect(html).toContain("<h1>Title</h1>");
    expect(html).toContain('<a href="https://a.example/?q=1:2">good</a>');
    expect(html).not.toMatch(/<script|<img|href="java/i);
  });

  test("the first sheet of a workbook becomes CSV and JSON", async () => {
    const sheet = `<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>sku</t></is></c><c r="B1" t="inlineStr"><is><t>n</t></is></c></row><row r="2"><c r="A2" t="inlineStr"><is><t>=x</t></is></c><c r="B2"><v>4.5</v></c></row></sheetData></worksheet>`;
    const relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const parts: Record<string, string> = {
      "[Content_Types].xml": `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>`,
      "xl/workbook.xml": `<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="${relations}"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>`,
      "xl/_rels/workbook.xml.rels": `<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="${relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`,
      "xl/worksheets/sheet1.xml": sheet,
    };
    const workbook = Buffer.from(zipSync(Object.fromEntries(Object.entries(parts).map(([name, text]) => [name, Buffer.from(text)]))));
    expect(await convert(workbook, "application/json")).toBe('[{"sku":"=x","n":4.5}]\n');
    expect(await convert(workbook, "text/csv")).toBe('sku,n\n"\'=x",4.5\n');
    expect(await refusal(workbook, { convert: { to_media_type: "application/xml" } })).toMatch(/^SCHEMA: application\/vnd.openxmlformats-\S+ cannot become/);
  });

  test.each<[string, string | Buffer, string, RegExp, JsonObject?]>([
    ["entities", '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "application/json", /^SCHEMA: .*document type/],
    ["broken XML", '<?xml version="1.0"?><a><b></a>', "application/json", /^SCHEMA: the XML is not valid/],
    ["a delimiter of JSON", "[1]", "application/yaml", /^SCHEMA: delimiter has no meaning/, { delimiter: ";" }],
    ["broken JSON", '{"a":', "text/csv", /^SCHEMA: .*not valid JSON/],
    ["deep YAML", `a: ${"[".repeat(20_000)}`, "application/json", /^(?:SCHEMA|LIMIT\.DEPTH): /],
    [
      "a swarm of aliases",
      `a: &a [x,x,x,x,x,x,x,x,x]\n${"bcdefghi"
        .split("")
        .map((name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(",")}]`)
        .join("\n")}\n`,
      "application/json",
      /^SCHEMA: .*alias/i,
    ],
    ["a key that is no element", '{"a b":1}', "application/xml", /^SCHEMA: the key "a b"/],
    ["prose as a table", "just words", "application/json", /^SCHEMA: the file is text\/plain, neither a table/],
    ["an image as a table", Buffer.from("89504e470d0a1a0a0000", "hex"), "text/csv", /^SCHEMA: image\/png cannot become text\/csv/],
    ["an archive that is no workbook", Buffer.from(zipSync({ "a.txt": Buffer.from("x") })), "text/csv", /^SCHEMA: application\/zip cannot become text\/csv/],
  ])("refuses %s", async (_, source, to, expected, options = {}) => {
    expect(await refusal(source, { convert: { to_media_type: to, ...options } })).toMatch(expected);
  });
});

describe("images", () => {
  test.each(["png", "jpeg", "webp", "avif"] as const)("%s becomes each of the others, with the same size", async (from) => {
    const source = await photo()
      .toFormat(from === "avif" ? "heif" : from, from === "avif" ? { compression: "av1" } : {})
      .toBuffer();
    for (const to of ["png", "jpeg", "webp", "avif"]) {
      const { bytes, blob } = await rewrite(source, { convert: { to_media_type: `image/${to}` } });
      expect(await sharp(bytes).metadata()).toMatchObject({ format: to === "avif" ? "heif" : to, width: 64, height: 48 });
      expect(blob["name"]).toBe(`report.${to === "jpeg" ? "jpg" : to}`);
      const { channels } = await sharp(bytes).stats();
      expect(channels[0]?.mean).toBeGreaterThan(185);
      expect(channels[2]?.mean).toBeLessThan(25);
    }
  });

  test("optimize shrinks to the given bounds, upright and without the camera's data", async () => {
    const noise = sharp({ create: { width: 400, height: 200, channels: 3, background: "white", noise: { type: "gaussian", mean: 128, sigma: 30 } } });
    const source = await noise
      .jpeg({ quality: 95 })
      .withMetadata({ orientation: 6 })
      .withExif({ IFD0: { Artist: "Ann" } })
      .toBuffer();
    const { bytes } = await rewrite(source, { optimize: { max_width: 100 } });
    expect(await sharp(bytes).metadata()).toMatchObject({ format: "jpeg", width: 100, height: 200 });
    expect(bytes.includes("Ann")).toBe(false);
    expect((await rewrite(source, { optimize: { max_height: 100, keep_metadata: true } })).bytes.includes("Ann")).toBe(true);
  });

  test("optimize gives back what cannot become smaller", async () => {
    const source = await photo(2, 2).png({ palette: true, compressionLevel: 9 }).toBuffer();
    const { bytes, result } = await rewrite(source, { optimize: {} });
    expect(bytes.length).toBeLessThanOrEqual(source.length);
    expect(result["saved_bytes"]).toBeGreaterThanOrEqual(0);
  });

  test("an image of more than 50 megapixels is refused before it is decoded", async () => {
    const header = Buffer.from(await photo(8, 8).png().toBuffer());
    header.writeUInt32BE(20_000, 16);
    header.writeUInt32BE(20_000, 20);
    const { crc32 } = await import("node:zlib");
    header.writeUInt32BE(crc32(header.subarray(12, 29)), 29);
    for (const operation of [{ convert: { to_media_type: "image/webp" } }, { optimize: {} }])
      expect(await refusal(header, operation)).toMatch(/^LIMIT\.PIXELS: /);
  });

  test("a broken image is refused", async () => {
    const source = await photo(200, 200).png({ compressionLevel: 0 }).toBuffer();
    expect(await refusal(source.subarray(0, 5_000), { convert: { to_media_type: "image/webp" } })).toMatch(/^SCHEMA: /);
  });
});

describe("optimize of texts", () => {
  test.each<[string, string, string]>([
    ["JSON, digit by digit", ' { "a b" : [ 1.0 , 9007199254740993 ] , "c" : "x  \\" y" } ', '{"a b":[1.0,9007199254740993],"c":"x  \\" y"}'],
    ["NDJSON", '{"a": 1}\n\n{"b": 2}\n', '{"a":1}\n{"b":2}\n'],
    [
      "HTML",
      "<!DOCTYPE html>\n<html>\n   <!-- note -->\n  <p>a   b</p><pre>  x\n   y</pre></html>",
      "<!DOCTYPE html>\n<html>\n\n<p>a b</p><pre>  x\n   y</pre></html>",
    ],
    [
      "XML, indented",
      '<?xml version="1.0"?>\n<a  x="1  2"\n   y=\'3\' >\n  <!-- note -->\n  <b>t  t</b>\n  <c> <d/>\n <e/></c>\n  <f>\n  </f>\n <g>x\n<h/>\n</g></a>\n',
      '<?xml version="1.0"?><a x="1  2" y=\'3\'><b>t  t</b><c> <d/>\n <e/></c><f>\n  </f><g>x\n<h/>\n</g></a>\n',
    ],
    [
      "XML whose blanks count",
      '<a>\n  <pre xml:space="preserve">\n  <b/>\n  </pre>\n  <![CDATA[ <x> ]]>\n</a>\n\n\n',
      '<a>\n  <pre xml:space="preserve">\n  <b/>\n  </pre>\n  <![CDATA[ <x> ]]>\n</a>\n',
    ],
    [
      "CSS",
      '@import url(x.css;v=1) screen ;\n/* note */\na :hover , b > c /* x */ {\n  color : red ;\n  margin: 1px/**/2px;\n  background: url("a  b.png") , none;\n}\n@media (min-width: 10px) { .x/**/.y { --z: ; content: "\\" ; }" } }\n',
      '@import url(x.css;v=1) screen;a :hover,b > c{color:red;margin:1px/**/2px;background:url("a  b.png"),none}@media (min-width: 10px){.x.y{--z: ;content:"\\" ; }"}}\n',
    ],
    ["CSS in lines that could be a table", "a { color: red; }\nb { color: blue; }\n", "a{color:red}b{color:blue}\n"],
    ["CSV, whose formulas stay", 'a;b\r\n"=1";"x y"\r\n\r\n', "a;b\n=1;x y\n"],
  ])("minifies %s", async (_, source, expected) => {
    expect((await rewrite(source, { optimize: { minify: true } })).bytes.toString()).toBe(expected);
  });

  test("gzip makes a file that any reader unpacks, or leaves it when that would be larger", async () => {
    const text = "a,b\n".repeat(1000);
    const { bytes, blob } = await rewrite(text, { optimize: { gzip: true } });
    expect(gunzipSync(bytes).toString()).toBe(text);
    expect(blob).toMatchObject({ media_type: "application/gzip", name: "report.data.gz" });
    expect((await rewrite("a,b\n1,2\n", { optimize: { gzip: true } })).bytes.toString()).toBe("a,b\n1,2\n");
  });

  test.each<[string, JsonObject, RegExp]>([
    ["{}", { max_width: 5 }, /^SCHEMA: max_width has no meaning for application\/json/],
    ["{}", {}, /^SCHEMA: give minify or gzip/],
    ["just prose", { minify: true }, /^SCHEMA: minify is possible for/],
    ["function f(a) { return 1; }", { minify: true }, /^SCHEMA: minify is possible for/],
    ["a { color: red; ", { minify: true }, /^SCHEMA: minify is possible for/],
    ['<?xml version="1.0"?><!DOCTYPE a><a/>', { minify: true }, /^SCHEMA: .*document type/],
    ['<?xml version="1.0"?><a>', { minify: true }, /^SCHEMA: the XML is not valid/],
  ])("%j with %j is refused", async (source, optimize, expected) => {
    expect(await refusal(source, { optimize })).toMatch(expected);
  });
});

test("a stored file is held to the tenant, to its size and to the end of the attempt", async () => {
  const { id } = files.put("tenant-b", "x", Buffer.from("{}"));
  const of = async (source: JsonObject) => failureIn(await fileProcess.run(attemptOf(fileProcess, { source, extract: {} }), services)).failure.name;
  expect(await of({ blob_id: id })).toBe("FILE.NOT_FOUND");
  expect(await of({ blob_id: "../../etc/passwd" })).toBe("FILE.NOT_FOUND");
  expect(await of({ blob_id: files.put("tenant-a", "x", Buffer.alloc(6)).id, max_bytes: 5 })).toBe("LIMIT.BODY");
  const signal = AbortSignal.abort({ name: "TIMEOUT.START_TO_CLOSE", message: "over" });
  expect(failureIn(await outcomeOf("{}", { convert: { to_media_type: "application/yaml" } }, { signal })).failure.name).toBe("TIMEOUT.START_TO_CLOSE");
});

test.each<[JsonObject, string[]]>([
  [{ convert: { to_media_type: "application/pdf" } }, ["convert.to_media_type: VALIDATION_FAILED"]],
  [
    { convert: { to_media_type: "text/csv", charset: "klingon", delimiter: ";;", root_element: "a b", quality: 101 } },
    ["charset", "delimiter"]
      .map((name) => `convert.${name}: VALIDATION_FAILED`)
      .concat("convert.quality: LIMIT_EXCEEDED", "convert.root_element: VALIDATION_FAILED"),
  ],
  [{ optimize: { max_width: 70_000, minify: true } }, ["optimize.max_width: LIMIT_EXCEEDED", "optimize: VALIDATION_FAILED"]],
])("%j is refused at save", (operation, expected) => {
  expect(problemsOf(fileProcess, { source: { text: "x" }, ...operation })).toEqual(expected);
});

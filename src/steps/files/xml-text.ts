/** XML as JSON and back. Attributes are `@name`, text beside them `#text`; a repeated element is a list. Values stay text. */
import { XMLParser, XMLValidator } from "fast-xml-parser";
import { findJsonFault, isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { textOf } from "../config-fields.ts";
import { isElementName } from "./xml-name.ts";

/** SCHEMA for what is not well formed or declares a document type: entities and external references are never looked at. */
export function readXml(text: string): Result<Json, Failure> {
  if (/<!(?:DOCTYPE|ENTITY)/i.test(text)) return fail(failure("SCHEMA", "the XML declares a document type; entities and external references are refused"));
  const valid = XMLValidator.validate(text);
  if (valid !== true) return fail(failure("SCHEMA", `the XML is not valid: ${valid.err.msg} (line ${valid.err.line})`));
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: "@",
    parseTagValue: false,
    parseAttributeValue: false,
    trimValues: false,
    ignoreDeclaration: true,
    ignorePiTags: true,
    htmlEntities: true,
  });
  const document = parser.parse(text.trim()) as Json;
  // The validator lets several roots pass, and text after them.
  const roots = isJsonObject(document) && text.trimEnd().endsWith(">") ? Object.entries(document) : [];
  if (roots.length !== 1 || Array.isArray(roots[0]?.[1]) || roots[0]?.[0] === "#text")
    return fail(failure("SCHEMA", "the XML is not valid: it has not exactly one root element"));
  const fault = findJsonFault(document, undefined, "document");
  return fault ? fail(failure("SCHEMA", `${fault.path} ${fault.problem}`)) : ok(withoutIndentation(document));
}

/** Blanks between elements are no text; those that stand alone or beside text are. */
function withoutIndentation(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutIndentation);
  if (!isJsonObject(value)) return value;
  const members = Object.entries(value);
  const isIndented = members.some(([name]) => name !== "#text" && !name.startsWith("@"));
  const kept = members.filter(([name, part]) => !(isIndented && name === "#text" && textOf(part).trim() === ""));
  return Object.fromEntries(kept.map(([name, part]) => [name, withoutIndentation(part)]));
}

/** The items of a list at the top are called `item`. SCHEMA names a key that is no element name. */
export function writeXml(document: Json, options: { readonly root: string; readonly pretty: boolean }): Result<string, Failure> {
  try {
    const content = Array.isArray(document) ? { item: document } : document;
    const lines = element(options.root, content, options.pretty ? "\n" : "");
    return ok(`<?xml version="1.0" encoding="UTF-8"?>\n${lines}\n`);
  } catch (error) {
    if (error instanceof NotXml) return fail(failure("SCHEMA", error.message));
    throw error;
  }
}

/**
 * As `writeXml` of a list, batch by batch. `write` and `end` throw an Error for what XML cannot hold; see `xmlProblem`.
 */
export function xmlListWriter({ root, pretty }: { readonly root: string; readonly pretty: boolean }): {
  write(rows: readonly Json[]): string;
  end(): string;
} {
  let isFirst = true;
  const space = pretty ? "\n  " : "";
  const opening = (): string => {
    if (!isElementName(root)) throw new NotXml(`the key "${root.slice(0, 100)}" cannot be the name of an XML element`);
    return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}`;
  };
  return {
    write(rows) {
      if (rows.length === 0) return "";
      const before = isFirst ? `${opening()}>` : "";
      isFirst = false;
      return before + rows.map((row) => space + element("item", row, space)).join("");
    },
    end: () => (isFirst ? `${opening()}/>\n` : `${pretty ? "\n" : ""}</${root}>\n`),
  };
}

/** What is wrong with a value that was to become XML; undefined for any other error. */
export function xmlProblem(error: unknown): Failure | undefined {
  return error instanceof NotXml ? failure("SCHEMA", error.message) : undefined;
}

class NotXml extends Error {}

/** `space` is what a line begins with: a line feed and the indentation, or nothing. */
function element(name: string, value: Json, space: string): string {
  if (!isElementName(name)) throw new NotXml(`the key "${name.slice(0, 100)}" cannot be the name of an XML element`);
  if (!isJsonObject(value)) {
    const text = Array.isArray(value) ? listItems(value, deeper(space)) : escapeText(textOf(value));
    return text === "" ? `<${name}/>` : `<${name}>${text}${Array.isArray(value) ? space : ""}</${name}>`;
  }
  const attributes = Object.entries(value).filter(([key, part]) => key.startsWith("@") && !isNested(part));
  const children = Object.entries(value).filter(([key, part]) => key !== "#text" && !(key.startsWith("@") && !isNested(part)));
  const opening = `<${name}${attributes.map(([key, part]) => ` ${attributeName(key)}="${escapeAttribute(textOf(part))}"`).join("")}`;
  const text = escapeText(textOf((value as JsonObject)["#text"] ?? null));
  const inside = deeper(space);
  const parts = children.flatMap(([key, part]) => (Array.isArray(part) ? part : [part]).map((one) => inside + element(key, one, inside)));
  if (text === "" && parts.length === 0) return `${opening}/>`;
  return `${opening}>${text}${parts.join("")}${parts.length > 0 ? space : ""}</${name}>`;
}

function listItems(items: readonly Json[], space: string): string {
  return items.map((item) => space + element("item", item, space)).join("");
}

const deeper = (space: string): string => (space === "" ? "" : `${space}  `);
const isNested = (value: Json): boolean => typeof value === "object" && value !== null;

function attributeName(key: string): string {
  const name = key.slice(1);
  if (!isElementName(name)) throw new NotXml(`the key "${key.slice(0, 100)}" cannot be the name of an XML attribute`);
  return name;
}

/** Readers take a line break or a tabulator in an attribute for a blank unless it is written as a reference. */
function escapeAttribute(text: string): string {
  return escapeText(text).replace(/[\t\n]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function escapeText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML cannot hold
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(text)) throw new NotXml("a text holds a control character, which XML cannot hold");
  return text.replace(/[&<>"\r]/g, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[character] ?? "&#13;");
}

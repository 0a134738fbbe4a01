/**
 * Texts nobody may see, and how they are taken out of everything that leaves an attempt. A server that echoes a secret does so
 * in the forms that programs write values in: as it is, in JSON, in a URL, in HTML, as hex, and in base64 at any of its three
 * alignments (`user:password` encodes the password somewhere inside). Each of them becomes `***`.
 */
import { isJsonObject, type Json } from "./json.ts";

const maskedText = "***";
/** Shorter texts are not masked: they stand everywhere by accident. The contract takes no secret below it. */
const maskedCharactersMin = 4;
/** Base64 pieces shorter than this (48 bits) would be found by accident in a large answer. */
const base64CharactersMin = 8;

export class Mask {
  readonly #values = new Set<string>();
  /** Longest first, so that a form is never broken by another one that stands inside it. */
  #forms: readonly Form[] = [];

  /** From now on this text is masked. */
  conceal(value: string): void {
    if (value.length < maskedCharactersMin || this.#values.has(value)) return;
    this.#values.add(value);
    const forms = new Map([...this.#forms, ...formsOf(value)].map((form) => [form.bytes.toString("latin1"), form]));
    this.#forms = [...forms.values()].sort((one, other) => other.bytes.length - one.bytes.length);
  }

  text(text: string): string {
    let masked = text;
    for (const form of this.#forms) if (form.text !== undefined) masked = masked.replaceAll(form.text, maskedText);
    return masked;
  }

  /** The same value with every text in it masked, names of members too. Returned as it is when there is nothing to mask. */
  json<Value extends Json>(value: Value): Value {
    if (this.#forms.length === 0 || value === null || typeof value === "number" || typeof value === "boolean") return value;
    // One search through the whole text is far cheaper than one through each of thousands of short ones.
    const whole = JSON.stringify(value);
    return this.#forms.some((form) => form.inJson !== undefined && whole.includes(form.inJson)) ? (this.#within(value) as Value) : value;
  }

  bytes(bytes: Buffer): Buffer {
    let masked = bytes;
    for (const form of this.#forms) masked = replaceBytes(masked, form.bytes);
    return masked;
  }

  #within(value: Json): Json {
    if (typeof value === "string") return this.text(value);
    if (Array.isArray(value)) return value.map((item) => this.#within(item));
    if (!isJsonObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [this.text(name), this.#within(member)]));
  }
}

interface Form {
  readonly bytes: Buffer;
  /** Absent for forms that only stand in bytes of another encoding. */
  readonly text?: string;
  /** As it stands inside a JSON text. */
  readonly inJson?: string;
}

function formsOf(value: string): Form[] {
  const nested = jsonLevels(value);
  const texts = [...nested, ...nested.slice(0, encodedLevels).flatMap(encodingsOf)].filter((text) => text.length >= maskedCharactersMin);
  const wide = Buffer.from(value, "utf16le");
  return [...texts.map((text) => ({ text, bytes: Buffer.from(text), inJson: jsonInner(text) })), { bytes: wide }, { bytes: Buffer.from(wide).swap16() }];
}

/** Texts of texts that are JSON: how deep they are looked for, and how deep in other encodings. */
const nestedLevels = 6;
const encodedLevels = 3;
const nestedCharactersMax = 65_536;

/** The value, as JSON, as JSON inside of JSON …: only quotes and the like make them differ. */
function jsonLevels(value: string): string[] {
  const levels = [value];
  for (let text = jsonInner(value); levels.length <= nestedLevels && text !== levels.at(-1) && text.length <= nestedCharactersMax; text = jsonInner(text)) {
    levels.push(text);
  }
  return levels;
}

function encodingsOf(value: string): string[] {
  const bytes = Buffer.from(value);
  const percent = percentEncoded(value);
  return [
    value.replaceAll("/", "\\/"),
    asciiJson(value),
    ...percent,
    ...percent.map((text) => text.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase())),
    ...htmlEscaped(value),
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    ...base64Pieces(bytes),
  ];
}

function percentEncoded(value: string): string[] {
  const text = value.toWellFormed();
  return [encodeURIComponent(text), encodeURI(text), new URLSearchParams([["", text]]).toString().slice(1)];
}

function htmlEscaped(value: string): string[] {
  const escaped = value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const quoted = escaped.replaceAll('"', "&quot;");
  return [escaped, quoted, quoted.replaceAll("'", "&#39;"), quoted.replaceAll("'", "&#x27;")];
}

/** The whole encoding, and at each alignment the characters that follow from these bytes alone. */
function base64Pieces(bytes: Buffer): string[] {
  const pieces = [bytes.toString("base64"), bytes.toString("base64url")];
  for (const before of [0, 1, 2]) {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    const piece = encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
    if (piece.length >= base64CharactersMin) pieces.push(piece, piece.replaceAll("+", "-").replaceAll("/", "_"));
  }
  return pieces;
}

function jsonInner(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** Every character outside ASCII escaped as many encoders write it, in a text that is JSON otherwise. */
function asciiJson(value: string): string {
  return value.replaceAll(/[^\u0020-\u007e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function replaceBytes(bytes: Buffer, form: Buffer): Buffer {
  let at = bytes.indexOf(form);
  if (at < 0) return bytes;
  const parts: Buffer[] = [];
  let from = 0;
  for (; at >= 0; at = bytes.indexOf(form, from)) {
    parts.push(bytes.subarray(from, at), Buffer.from(maskedText));
    from = at + form.length;
  }
  return Buffer.concat([...parts, bytes.subarray(from)]);
}

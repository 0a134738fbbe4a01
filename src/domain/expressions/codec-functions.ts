/** JSON, base64, SHA-256 and `uuid`: functions of the service, not of CEL. */
import { createHash } from "node:crypto";
import { findJsonFault, type Json } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import type { Frame } from "./expression.ts";
import { type FunctionTable, needText, refuse } from "./function-table.ts";
import { LimitProblem, Problem, quoted } from "./problem.ts";
import { toJson } from "./to-json.ts";
import type { Value } from "./value.ts";

/** Namespace of `uuid(name)`: a random UUID, fixed for ever, since equal names must stay equal. */
const uuidNamespace = Buffer.from("6f0d1a52b4c94f0b9e6b3a7e5d2c8f41", "hex");

export const codecFunctions: FunctionTable = {
  "json.encode": { usage: "json.encode(x)", arguments: [1, 1], call: ([value], frame) => encodeJson(value as Value, frame) },
  "json.decode": { usage: "json.decode(text)", arguments: [1, 1], call: (args, frame) => decodeJson(needText(args, 0, "json.decode()"), frame) },
  "base64.encode": {
    usage: "base64.encode(x)",
    arguments: [1, 1],
    call: ([value], frame) => bytesOf(value as Value, frame, "base64.encode()").toString("base64"),
  },
  "base64.decode": { usage: "base64.decode(text)", arguments: [1, 1], call: (args, frame) => decodeBase64(needText(args, 0, "base64.decode()"), frame) },
  sha256: {
    usage: "sha256(x)",
    arguments: [1, 1],
    call: ([value], frame) =>
      createHash("sha256")
        .update(bytesOf(value as Value, frame, "sha256()"))
        .digest("hex"),
  },
  uuid: { usage: "uuid(name)", arguments: [1, 1], usesContext: true, call: (args, frame) => uuidOf(needText(args, 0, "uuid()"), frame) },
};

function encodeJson(value: Value, { budget }: Frame): string {
  const { json, bytes } = toJson(value, limits.templateTextBytesMax);
  budget.chargeText(bytes, "decode");
  return JSON.stringify(json);
}

function decodeJson(text: string, { budget }: Frame): Json {
  budget.chargeText(text.length, "decode");
  const value = parseExactly(text);
  const fault = findJsonFault(value);
  if (fault) throw new Problem(`json.decode(): ${fault.path || "the value"} ${fault.problem}`);
  return value;
}

/** JSON.parse rounds integers beyond 2^53 silently; they are refused instead. The slow way is taken only when there may be one. */
function parseExactly(text: string): Json {
  try {
    if (!/\d{16}/.test(text)) return JSON.parse(text) as Json;
    const reviver = (_key: string, value: unknown, context?: { readonly source?: string }) => {
      const source = context?.source ?? String(value);
      if (typeof value !== "number" || Number.isSafeInteger(value) || !/^-?\d+$/.test(source)) return value;
      throw new Problem(`json.decode(): the integer ${quoted(source)} lies beyond 2^53; it must arrive as text`);
    };
    return JSON.parse(text, reviver) as Json;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem("json.decode(): the text is not valid JSON");
  }
}

function decodeBase64(text: string, { budget }: Frame): Uint8Array {
  budget.chargeText(text.length);
  const plain = text.replace(/=+$/, "");
  if (!/^(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)$/.test(plain) || plain.length % 4 === 1) throw new Problem("base64.decode(): the text is not base64");
  return Buffer.from(plain, "base64");
}

function bytesOf(value: Value, { budget }: Frame, name: string): Buffer {
  if (typeof value !== "string" && !(value instanceof Uint8Array)) throw refuse(value, name, "a string or bytes");
  if (value.length > limits.templateTextBytesMax) throw new LimitProblem(`uses ${name} on more than ${limits.templateTextBytesMax} bytes`);
  budget.chargeText(value.length, "decode");
  return typeof value === "string" ? Buffer.from(value, "utf8") : Buffer.from(value);
}

/** A UUIDv5 (RFC 9562). The parts are length-prefixed, so that no two steps can make the same text. */
function uuidOf(name: string, { budget, context }: Frame): string {
  budget.chargeText(name.length);
  const text = [context.executionId, context.stepPath, name].map((part) => `${part.length}:${part}`).join("");
  const hash = createHash("sha1").update(uuidNamespace).update(text).digest();
  hash[6] = 0x50 | ((hash[6] as number) & 0x0f);
  hash[8] = 0x80 | ((hash[8] as number) & 0x3f);
  const hex = hash.toString("hex", 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Bytes of one request message → message, or VALIDATION_FAILED with the paths of what does not fit. */
import { type DescMessage, fromBinary, fromJsonString, type Message } from "@bufbuild/protobuf";
import { AppError, messageOf, violationsError } from "../../base/errors.ts";
import { findJsonFieldFaults, UnsafeInteger } from "./json-faults.ts";

/** Objects and lists inside each other in a whole request: 32 of free JSON inside blocks inside a definition. */
const requestDepthMax = 100;

export function decodeMessage(desc: DescMessage, bytes: Uint8Array, isJson: boolean): Message {
  return isJson ? decodeJson(desc, bytes) : decodeBinary(desc, bytes);
}

function decodeBinary(desc: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(desc, bytes);
  } catch (error) {
    throw new AppError("VALIDATION_FAILED", `The bytes are not a ${desc.typeName}: ${messageOf(error)}.`);
  }
}

function decodeJson(desc: DescMessage, bytes: Uint8Array): Message {
  if (isDeeperThan(bytes, requestDepthMax)) {
    throw new AppError("VALIDATION_FAILED", `The JSON is nested deeper than ${requestDepthMax} levels.`);
  }
  const text = decodeText(bytes);
  if (/\d{16}/.test(text)) refuseFaults(desc, parseKeepingIntegers(text).rounded);
  try {
    return fromJsonString(desc, text, { ignoreUnknownFields: false });
  } catch (error) {
    refuseFaults(desc, parseKeepingIntegers(text).json);
    throw new AppError("VALIDATION_FAILED", `The JSON is not a ${desc.typeName}: ${messageOf(error)}.`);
  }
}

function refuseFaults(desc: DescMessage, json: unknown): void {
  if (json === undefined) return;
  const faults = findJsonFieldFaults(desc, json);
  if (faults.length > 0) throw violationsError(faults);
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new AppError("VALIDATION_FAILED", "The JSON is not UTF-8 text.");
  }
}

type Reviver = (this: unknown, key: string, value: unknown, context?: { source?: string }) => unknown;

/** Parsed JSON in which integers that would be rounded are marked; `rounded` is the same when there is one. */
function parseKeepingIntegers(text: string): { json: unknown; rounded: unknown } {
  let found = false;
  const mark: Reviver = (_key, value, context) => {
    if (typeof value !== "number" || Number.isSafeInteger(value) || !/^-?\d+$/.test(context?.source ?? "")) return value;
    found = true;
    return new UnsafeInteger(context?.source ?? "");
  };
  let json: unknown;
  try {
    json = JSON.parse(text, mark as (this: unknown, key: string, value: unknown) => unknown);
  } catch (error) {
    throw new AppError("VALIDATION_FAILED", `The body is not JSON: ${messageOf(error)}.`);
  }
  return { json, rounded: found ? json : undefined };
}

/** Counts brackets outside text, before anything is built from them. */
function isDeeperThan(bytes: Uint8Array, depthMax: number): boolean {
  let depth = 0;
  let inText = false;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (inText) {
      if (byte === 0x5c) index++;
      else if (byte === 0x22) inText = false;
    } else if (byte === 0x22) inText = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > depthMax) return true;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return false;
}

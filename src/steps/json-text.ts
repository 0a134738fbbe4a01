/**
 * JSON that others wrote. `JSON.parse` alone would take nesting that overflows every recursive encoder behind us, and
 * would silently round whole numbers above 2^53; such numbers become text here, as everywhere in the contract.
 */
import { messageOf } from "../base/errors.ts";
import { findJsonFault, type Json } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";

/**
 * The value of a JSON text, or a failure that names the place: `SCHEMA` for text that is no JSON or holds what cannot
 * be stored (NUL, half a surrogate pair, an infinite number), `LIMIT.DEPTH` for too many levels.
 * @param path how the value is called in messages, for example `body`.
 * @param depthMax levels of objects and lists [32].
 */
export function parseJsonText(text: string, path: string, depthMax: number = limits.jsonDepthMax): Result<Json, Failure> {
  if (isDeeper(text, depthMax)) return fail(failure("LIMIT.DEPTH", `${path} is nested deeper than ${depthMax} levels`));
  let value: Json;
  try {
    value = /\d{16}/.test(text) ? (JSON.parse(text, keepLargeIntegers) as Json) : (JSON.parse(text) as Json);
  } catch (error) {
    return fail(failure("SCHEMA", `${path} is not valid JSON: ${messageOf(error)}`));
  }
  const fault = findJsonFault(value, depthMax, path);
  return fault ? fail(failure("SCHEMA", `${fault.path} ${fault.problem}`)) : ok(value);
}

/** Counts brackets outside of strings, before anything is built: 5 MiB of `[` would become hundreds of megabytes. */
function isDeeper(text: string, depthMax: number): boolean {
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 0x22) index = endOfString(text, index);
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > depthMax) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}

function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return text.length;
}

function keepLargeIntegers(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || !Number.isInteger(value)) return value;
  return context?.source && /^-?\d+$/.test(context.source) ? context.source : value;
}

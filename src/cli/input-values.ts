/** What is given with -i, --data and -f: JSON from the command line, a file, or stdin. */
import { readFileSync, statSync } from "node:fs";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { messageOf } from "../base/errors.ts";
import { isJsonObject } from "../base/json.ts";
import { UsageError } from "./usage-error.ts";

/** No request may be larger; reading more would be no use. */
const bytesMax = 16 * 1024 * 1024;

export type Input = AsyncIterable<Uint8Array | string>;

/** `-i order=42 -i name=Ada`, `-i @order.json`, `-i -` (stdin). Undefined when nothing was given. */
export async function readInput(given: readonly string[], input: Input): Promise<JsonObject | undefined> {
  if (given.length === 0) return undefined;
  const whole = given.find((text) => text.startsWith("@") || text === "-");
  if (whole === undefined) return parsePairs(given);
  if (given.length > 1) throw new UsageError(`-i ${whole} is the whole input: nothing can be given beside it`);
  const value = parseJson(await readSource(whole, input), whole);
  if (!isJsonObject(value)) throw new UsageError(`${nameOf(whole)} must hold a JSON object`);
  return value as JsonObject;
}

/** Values are JSON where they can be read as JSON, else text: `count=3` is a number, `count='"3"'` and `name=Ada` are texts. */
export function parsePairs(pairs: readonly string[]): JsonObject {
  const object: JsonObject = {};
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`-i takes NAME=VALUE, @FILE or - (stdin), not "${pair}"`);
    const name = pair.slice(0, at);
    if (Object.hasOwn(object, name)) throw new UsageError(`-i gives "${name}" twice`);
    // A plain assignment to `__proto__` would set no member.
    Object.defineProperty(object, name, { value: jsonOrText(pair.slice(at + 1)), enumerable: true, writable: true, configurable: true });
  }
  return object;
}

/** One JSON value: literal, @FILE or - (stdin). */
export async function readValue(given: string, input: Input): Promise<JsonValue> {
  const isSource = given.startsWith("@") || given === "-";
  return parseJson(isSource ? await readSource(given, input) : given, given);
}

/** `@FILE` or `-`. */
export async function readSource(source: string, input: Input): Promise<string> {
  if (source === "-") return readAll(input);
  const file = source.slice(1);
  try {
    if (statSync(file).size > bytesMax) throw new UsageError(`${file} is larger than ${bytesMax / 1024 / 1024} MiB`);
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? messageOf(error)})`);
  }
}

/** `key=value` pairs, for example of --label. */
export function parseLabels(pairs: readonly string[], option: string): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at < 1) throw new UsageError(`--${option} takes NAME=VALUE, not "${pair}"`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

function jsonOrText(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

function parseJson(text: string, source: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new UsageError(`${nameOf(source)} is no JSON: ${messageOf(error)}`);
  }
}

function nameOf(source: string): string {
  return source === "-" ? "stdin" : source.startsWith("@") ? source.slice(1) : "what was given";
}

async function readAll(input: Input): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    const buffer = Buffer.from(chunk);
    if ((bytes += buffer.length) > bytesMax) throw new UsageError(`stdin is larger than ${bytesMax / 1024 / 1024} MiB`);
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

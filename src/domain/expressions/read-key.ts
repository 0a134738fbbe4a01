/** Reading one key of a value. The only place that touches members of data: own keys, never a prototype. */
import { Problem, quoted } from "./problem.ts";
import { isList, kindOf, type MapKey, Optional, type Value } from "./value.ts";
import { wholeNumber } from "./whole-number.ts";

/** The member of a map or list, or undefined when it is not there (also for values that have no members). */
export function readKey(value: Value, key: Value): Value | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (isList(value)) {
    const index = wholeNumber(key);
    return index === undefined || index < 0n || index >= value.length ? undefined : value[Number(index)];
  }
  if (value instanceof Map) {
    const mapKey = mapKeyOf(key);
    return mapKey === undefined ? undefined : value.get(mapKey);
  }
  if (kindOf(value) !== "map" || typeof key !== "string") return undefined;
  return Object.hasOwn(value, key) ? (value as { readonly [key: string]: Value })[key] : undefined;
}

/** The member, or the problem that says what is missing. Keys of an optional are read as optionals. `path` is lazy: it is only needed for the message. */
export function needKey(value: Value, key: Value, path: () => string | undefined): Value {
  const member = readKey(value, key);
  if (member !== undefined) return member;
  if (value instanceof Optional) return value.value === undefined ? value : readOptionalKey(value.value, key);
  throw missingKey(value, key, path());
}

/** `.?` and `[?]`: an optional of the member; nothing when the member, or what should hold it, is absent or null. */
export function readOptionalKey(value: Value, key: Value): Optional {
  const holder = value instanceof Optional ? value.value : value;
  if (holder === undefined || holder === null) return new Optional(undefined);
  const kind = kindOf(holder);
  if (kind !== "map" && kind !== "list") throw new Problem(`a ${kind} has no keys`);
  return new Optional(readKey(holder, key));
}

/** `has(a.b)`: whether the key is there. Null has no keys; other values without keys are a problem. */
export function hasKey(value: Value, key: string): boolean {
  const holder = value instanceof Optional ? value.value : value;
  if (holder === undefined || holder === null) return false;
  if (kindOf(holder) !== "map") throw new Problem(`has() needs a map, not a ${kindOf(holder)}`);
  return readKey(holder, key) !== undefined;
}

/** How a key is kept in a `Map`: numbers that are equal are one key. Undefined for what cannot be a key. */
export function mapKeyOf(key: Value): MapKey | undefined {
  if (typeof key === "string" || typeof key === "boolean") return key;
  return wholeNumber(key);
}

const pathCharactersMax = 160;

function shortened(path: string): string {
  return path.length > pathCharactersMax ? `…${path.slice(-pathCharactersMax).toWellFormed()}` : path;
}

function missingKey(value: Value, key: Value, path: string | undefined): Problem {
  const holder = path === undefined ? "the value" : shortened(path);
  const kind = kindOf(value);
  const name = typeof key === "string" ? quoted(key) : String(wholeNumber(key) ?? kindOf(key));
  const full = path === undefined || path.length > pathCharactersMax ? undefined : typeof key === "string" ? joinPath(path, key) : `${path}[${name}]`;
  if (isList(value)) {
    if (wholeNumber(key) === undefined) return new Problem(`${holder} is a list, which has no key ${name}`, full);
    return new Problem(`${holder} has ${value.length} elements, so there is no [${name}]`, full);
  }
  if (kind === "map") return new Problem(`${holder} has no key ${name}`, full);
  return new Problem(`${holder} is ${kind === "null" ? "null" : `a ${kind}`}, so it has no key ${name}`, full);
}

/** `a` and `b` → `a.b`, or `a["b c"]` when the key is not a plain name. */
export function joinPath(path: string, key: string | number): string {
  if (typeof key === "number") return `${path}[${key}]`;
  return /^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(key) ? `${path}.${key}` : `${path}[${quoted(key)}]`;
}

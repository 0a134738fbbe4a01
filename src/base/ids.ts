/**
 * Identities: a prefix that tells the kind, then a UUIDv7 (RFC 9562) as 26 characters of Crockford base32, so
 * that ids sort by creation time and can be read aloud. SQL stores the plain uuid; only the store converts.
 */
import { createHash, randomBytes } from "node:crypto";

export const idPrefixes = { template: "tpl", workflow: "wfl", execution: "exe", task: "tsk", signal: "sig", key: "key", blob: "blb" } as const;
export type IdKind = keyof typeof idPrefixes;

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/** Value of a digit by its character code; 255 for all others. */
const digitOf = new Uint8Array(128).fill(255);
for (let value = 0; value < alphabet.length; value++) digitOf[alphabet.charCodeAt(value)] = value;

/** Sorts before every other uuid: where a reading begins. */
export const nilUuid = "00000000-0000-0000-0000-000000000000";

/** Where ids come from; a test hands in its own. */
export interface IdSource {
  next(kind: IdKind): string;
}

export const systemIds: IdSource = { next: (kind) => formatId(kind, nextUuid(Date.now())) };

/** Time and number of the newest id of this process: twelve bits behind the milliseconds count up (RFC 9562, 6.2, method 1). */
let newestMs = 0;
let number = 0;

/** Sorts behind every uuid that this process made before, also within a millisecond and when the clock goes back. */
export function nextUuid(nowMs: number): string {
  const random = fewRandomBytes(10);
  if (nowMs > newestMs) {
    newestMs = nowMs;
    number = (((random[0] as number) << 8) | (random[1] as number)) & 0x7ff; // half of the room is left to count
  } else if (++number > 0xfff) {
    newestMs += 1;
    number = 0;
  }
  random[0] = number >> 8;
  random[1] = number & 0xff;
  return uuidV7(newestMs, random);
}

let pool = Buffer.alloc(0);
let poolUsed = 0;

/** Up to sixteen random bytes. They are fetched for many ids at once, because asking for each costs more than the rest of an id; each is handed out once. */
export function fewRandomBytes(count: number): Buffer {
  if (poolUsed + count > pool.length) {
    pool = randomBytes(2_560);
    poolUsed = 0;
  }
  poolUsed += count;
  return pool.subarray(poolUsed - count, poolUsed);
}

/** A UUIDv7 from a time in milliseconds and ten random bytes. */
export function uuidV7(atMs: number, random: Uint8Array): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(atMs, 0, 6);
  bytes.set(random.subarray(0, 10), 6);
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f);
  return hexToUuid(bytes.toString("hex"));
}

/** The id that always follows from this text: whoever makes the thing again makes the same thing. */
export function idFrom(kind: IdKind, text: string): string {
  const bytes = createHash("sha256").update(text).digest().subarray(0, 16);
  bytes[6] = 0x80 | ((bytes[6] as number) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f);
  return formatId(kind, hexToUuid(bytes.toString("hex")));
}

export function formatId(kind: IdKind, uuid: string): string {
  // 26 digits of 5 bits hold 130: two zero bits stand before the 128 of the uuid.
  let bits = 0;
  let held = 2;
  let text = "";
  for (let position = 0; position < uuid.length; position++) {
    const digit = hexDigit(uuid.charCodeAt(position));
    if (digit < 0) continue;
    bits = (bits << 4) | digit;
    held += 4;
    if (held < 5) continue;
    held -= 5;
    text += alphabet[(bits >> held) & 31];
    bits &= (1 << held) - 1;
  }
  return `${idPrefixes[kind]}_${text}`;
}

/** -1 for a hyphen. */
function hexDigit(code: number): number {
  if (code === 45) return -1;
  return code < 58 ? code - 48 : (code | 32) - 87;
}

/** The uuid inside an id of that kind, or undefined when the text is not one (wrong prefix, length, character). */
export function parseId(kind: IdKind, id: string): string | undefined {
  const prefix = idPrefixes[kind];
  if (id.length !== prefix.length + 27 || !id.startsWith(`${prefix}_`)) return undefined;
  let bits = 0;
  let held = -2;
  let hex = "";
  for (let position = prefix.length + 1; position < id.length; position++) {
    const code = id.charCodeAt(position);
    const digit = code < 128 ? (digitOf[code] as number) : 255;
    // The first digit stands for three bits: a greater one would be more than a uuid holds.
    if (digit === 255 || (held < 0 && digit > 7)) return undefined;
    bits = (bits << 5) | digit;
    held += 5;
    while (held >= 4) {
      held -= 4;
      hex += hexDigits[(bits >> held) & 15];
      bits &= (1 << held) - 1;
    }
  }
  return hexToUuid(hex);
}

const hexDigits = "0123456789abcdef";

export function hexToUuid(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

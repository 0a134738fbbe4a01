/**
 * Identities: a prefix that tells the kind, then a UUIDv7 (RFC 9562) as 26 characters of Crockford base32, so
 * that ids sort by creation time and can be read aloud. SQL stores the plain uuid; only the store converts.
 */
import { randomBytes } from "node:crypto";

export const idPrefixes = { template: "tpl", workflow: "wfl", execution: "exe", task: "tsk", signal: "sig", key: "key", blob: "blb" } as const;
export type IdKind = keyof typeof idPrefixes;

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const digitOf = new Map([...alphabet].map((character, value) => [character, value]));

/** Where ids come from; a test hands in its own. */
export interface IdSource {
  next(kind: IdKind): string;
}

export const systemIds: IdSource = { next: (kind) => formatId(kind, uuidV7(Date.now(), randomBytes(10))) };

/** A UUIDv7 from a time in milliseconds and ten random bytes. */
export function uuidV7(atMs: number, random: Uint8Array): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(atMs, 0, 6);
  bytes.set(random.subarray(0, 10), 6);
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f);
  return hexToUuid(bytes.toString("hex"));
}

export function formatId(kind: IdKind, uuid: string): string {
  let rest = BigInt(`0x${uuid.replaceAll("-", "")}`);
  let text = "";
  for (let position = 0; position < 26; position++) {
    text = (alphabet[Number(rest & 31n)] as string) + text;
    rest >>= 5n;
  }
  return `${idPrefixes[kind]}_${text}`;
}

/** The uuid inside an id of that kind, or undefined when the text is not one (wrong prefix, length, character). */
export function parseId(kind: IdKind, id: string): string | undefined {
  const prefix = idPrefixes[kind];
  if (id.length !== prefix.length + 27 || !id.startsWith(`${prefix}_`)) return undefined;
  let value = 0n;
  for (const character of id.slice(prefix.length + 1)) {
    const digit = digitOf.get(character);
    if (digit === undefined) return undefined;
    value = (value << 5n) | BigInt(digit);
  }
  if (value >> 128n !== 0n) return undefined;
  return hexToUuid(value.toString(16).padStart(32, "0"));
}

export function hexToUuid(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

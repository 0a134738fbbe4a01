/**
 * Sealed boxes: AES-256-GCM over a value and, unencrypted, over what it belongs to. A box that is moved to another row, or of
 * which one bit is changed, does not open. Nonces are random: 96 bits are safe for 2^32 boxes of one key, and no tenant has
 * that many versions of its secrets.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

export const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
/** First byte of a box, so that another form can follow. */
const form = 1;

/** What a box belongs to, as words that cannot run into each other. */
export type BoundTo = readonly (string | number)[];

export function newKey(): Buffer {
  return randomBytes(keyBytes);
}

export function seal(key: Uint8Array, value: Uint8Array, boundTo: BoundTo): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes }).setAAD(Buffer.from(JSON.stringify(boundTo)));
  const encrypted = Buffer.concat([cipher.update(value), cipher.final()]);
  return Buffer.concat([Buffer.from([form]), nonce, encrypted, cipher.getAuthTag()]);
}

/** Undefined when the key, what it is bound to, or any bit of the box is another one. */
export function unseal(key: Uint8Array, box: Uint8Array, boundTo: BoundTo): Buffer | undefined {
  if (box.length < 1 + nonceBytes + tagBytes || box[0] !== form) return undefined;
  const nonce = box.subarray(1, 1 + nonceBytes);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes })
    .setAAD(Buffer.from(JSON.stringify(boundTo)))
    .setAuthTag(box.subarray(-tagBytes));
  try {
    return Buffer.concat([decipher.update(box.subarray(1 + nonceBytes, -tagBytes)), decipher.final()]);
  } catch {
    return undefined;
  }
}

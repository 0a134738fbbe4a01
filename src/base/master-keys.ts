/**
 * The master keys of the configuration: one that wraps from now on, and others that still open what they once wrapped. Keys
 * are texts, so a slow derivation (scrypt, 30 ms each, at start only) stands between them and what is encrypted.
 */
import { createHmac, scrypt } from "node:crypto";
import { promisify } from "node:util";
import { type BoundTo, keyBytes, seal, unseal } from "./seal.ts";

export interface Wrapped {
  readonly masterKeyId: string;
  readonly wrapped: Buffer;
}

export interface MasterKeys {
  /** Of the key that wraps. */
  readonly currentId: string;
  /** Of the keys that only open. */
  readonly formerIds: readonly string[];
  knows(masterKeyId: string): boolean;
  wrap(key: Uint8Array, boundTo: BoundTo): Wrapped;
  /** Undefined when no key of this ring opens it. */
  unwrap(box: Wrapped, boundTo: BoundTo): Buffer | undefined;
}

const derive = promisify<string, string, number, Buffer>(scrypt);

/** `texts`: the current key first. At least one. */
export async function createMasterKeys(texts: readonly string[]): Promise<MasterKeys> {
  const ring = await Promise.all(
    [...new Set(texts)].map(async (text) => {
      const key = await derive(text, "pawf master key", keyBytes);
      return { key, id: createHmac("sha256", key).update("id").digest("hex").slice(0, 16) };
    }),
  );
  const [current] = ring;
  if (!current) throw new Error("a ring of master keys needs at least one");
  return {
    currentId: current.id,
    formerIds: ring.slice(1).map(({ id }) => id),
    knows: (masterKeyId) => ring.some(({ id }) => id === masterKeyId),
    wrap: (key, boundTo) => ({ masterKeyId: current.id, wrapped: seal(current.key, key, boundTo) }),
    unwrap({ masterKeyId, wrapped }, boundTo) {
      const opener = ring.find(({ id }) => id === masterKeyId);
      return opener && unseal(opener.key, wrapped, boundTo);
    },
  };
}

/** Fingerprints of what is stored: the digest of a definition, and the etag of a head that several callers may change. */
import { createHash } from "node:crypto";
import { AppError } from "../base/errors.ts";
import { canonicalJson, type Json } from "../base/json.ts";

/** SHA-256 (hex) of the canonical JSON: equal exactly for equal values, whatever the order of their members. */
export function digestOf(value: Json): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}

/** Made of what a caller can change: two states with one etag are equal, so an update on top of either loses nothing. */
export function etagOf(value: Json): string {
  return digestOf(value).slice(0, 16);
}

/** @throws AppError ETAG_MISMATCH when the caller named an etag and it is not the current one. */
export function checkEtag(given: string | undefined, current: string): void {
  if (given === undefined || given === "" || given === current) return;
  throw new AppError("ETAG_MISMATCH", "it was changed since you read it; read it again and repeat your change", { metadata: { currentEtag: current } });
}

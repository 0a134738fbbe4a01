/**
 * Page tokens: where the next page of a listing begins, sealed so that nobody can make or change one, and bound to the
 * listing it came from (tenant, method, filter, order). A token is opaque to callers and holds no secret.
 *
 * Bytes, in base64url: version (1) · binding (16) · mac (16) · position (UTF-8). Both digests are truncated HMAC-SHA-256
 * with different first bytes, so that one can never be taken for the other.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { type AppError, invariant, violationsError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";

/** The listing that a token belongs to. */
export interface PageTokenScope {
  readonly tenantId: string;
  /** Name of the rpc; no two listings share one. */
  readonly method: string;
  /** Everything else that decides which items the listing has and in which order; made by `listingHash`. */
  readonly filterHash: string;
}

const version = 1;
const digestBytes = 16;
const positionOffset = 1 + 2 * digestBytes;

/** One text for filter, order and whatever else shapes a listing (parent id, show_deleted …). */
export function listingHash(...parts: readonly (string | number | boolean)[]): string {
  return JSON.stringify(parts);
}

/** `after` is the position: what the store needs to go on (an id, a path, a number), at most about 700 bytes. */
export function encodePageToken(key: Uint8Array, { after, ...scope }: PageTokenScope & { readonly after: string }): string {
  const position = Buffer.from(after, "utf8");
  const binding = bindingOf(key, scope);
  const token = Buffer.concat([Buffer.of(version), binding, macOf(key, binding, position), position]).toString("base64url");
  invariant(token.length <= limits.pageTokenBytesMax, `a page token of ${token.length} bytes is longer than ${limits.pageTokenBytesMax}`);
  return token;
}

/**
 * The position in `token`, or undefined for the empty token of a first page.
 * @throws AppError PAGE_TOKEN_INVALID (not ours, changed, sealed with another key), PAGE_TOKEN_MISMATCH (of another listing)
 */
export function decodePageToken(key: Uint8Array, token: string, scope: PageTokenScope): string | undefined {
  if (token === "") return undefined;
  const bytes = token.length <= limits.pageTokenBytesMax ? Buffer.from(token, "base64url") : Buffer.alloc(0);
  // The decoder skips characters it does not know; only the one way to write these bytes is taken.
  if (bytes.length < positionOffset || bytes[0] !== version || bytes.toString("base64url") !== token) throw invalid();
  const binding = bytes.subarray(1, 1 + digestBytes);
  const mac = bytes.subarray(1 + digestBytes, positionOffset);
  const position = bytes.subarray(positionOffset);
  if (!timingSafeEqual(mac, macOf(key, binding, position))) throw invalid();
  if (!timingSafeEqual(binding, bindingOf(key, scope))) {
    throw refused("PAGE_TOKEN_MISMATCH", "belongs to another listing; repeat the call with the same filter and order_by, or begin again without it");
  }
  return position.toString("utf8");
}

/** Items of one page: 0 means 50, more than 1,000 counts as 1,000. @throws AppError VALIDATION_FAILED for negative ones */
export function pageSizeOf(requested: number): number {
  if (requested < 0) throw violationsError([{ field: "page_size", reason: "VALIDATION_FAILED", description: "must be 0 (the default) or more" }]);
  return requested === 0 ? limits.pageSizeDefault : Math.min(requested, limits.pageSizeMax);
}

function bindingOf(key: Uint8Array, { tenantId, method, filterHash }: PageTokenScope): Buffer {
  return digest(key, "b", Buffer.from(JSON.stringify([tenantId, method, filterHash])));
}

function macOf(key: Uint8Array, binding: Uint8Array, position: Uint8Array): Buffer {
  return digest(key, "m", Buffer.of(version), binding, position);
}

function digest(key: Uint8Array, purpose: "b" | "m", ...parts: readonly Uint8Array[]): Buffer {
  const hmac = createHmac("sha256", key).update(purpose);
  for (const part of parts) hmac.update(part);
  return hmac.digest().subarray(0, digestBytes);
}

function invalid(): AppError {
  return refused("PAGE_TOKEN_INVALID", "was not made by this service, or was changed; begin again without it");
}

function refused(reason: "PAGE_TOKEN_INVALID" | "PAGE_TOKEN_MISMATCH", description: string): AppError {
  return violationsError([{ field: "page_token", reason, description }]);
}

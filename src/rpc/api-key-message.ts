/** API keys on the wire, and what every rpc that makes one checks. */
import { create } from "@bufbuild/protobuf";
import { type ApiKey, ApiKeySchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import type { FieldViolation } from "../base/errors.ts";
import { parseId, systemIds } from "../base/ids.ts";
import type { KeyRecord } from "../store/key-repository.ts";
import { type ApiKeyText, hashSecret, newApiKey } from "./api-keys.ts";
import { timestampOf } from "./wire/time.ts";

/** A new key, whose hash is stored. */
export function newKey(pepper: Uint8Array): { readonly key: ApiKeyText; readonly secretHash: Uint8Array } {
  const key = newApiKey(parseId("key", systemIds.next("key")) as string);
  return { key, secretHash: hashSecret(key.secret, pepper) };
}

/** Scopes that no key of a tenant can hold, by their place below `field`. */
export function scopeFaults(scopes: readonly string[], known: readonly string[], field: string): readonly FieldViolation[] {
  return scopes.flatMap((scope, index): FieldViolation[] => {
    const description = `is no scope that a key of a tenant can hold; those are ${known.join(", ")}`;
    return known.includes(scope) ? [] : [{ field: `${field}[${index}]`, reason: "VALIDATION_FAILED", description }];
  });
}

export function keyToMessage({ id, name, scopes, creator, ...at }: KeyRecord): ApiKey {
  return create(ApiKeySchema, {
    ...{ id, name, scopes: [...scopes], creator },
    createTime: timestampOf(at.createdAt),
    expireTime: timestampOf(at.expiresAt),
    revokeTime: timestampOf(at.revokedAt),
    rotateTime: timestampOf(at.rotatedAt),
    previousExpireTime: timestampOf(at.previousExpiresAt),
  });
}

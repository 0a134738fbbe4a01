/** What a key may pass on to another one: nothing that it does not have itself, neither a scope nor a longer life. */
import { AppError, violationsError } from "../base/errors.ts";

export interface GrantingKey {
  readonly scopes: readonly string[];
  /** Milliseconds since the epoch; undefined: never. */
  readonly expiresAt: number | undefined;
}

export interface GrantWish {
  readonly scopes: readonly string[];
  /** Undefined: never. */
  readonly expiresAt: number | undefined;
}

/** @throws AppError SCOPE_MISSING, VALIDATION_FAILED (`expire_time`) */
export function checkGrant(granting: GrantingKey, wish: GrantWish, now: number): void {
  const scope = wish.scopes.find((one) => !granting.scopes.includes(one));
  if (scope !== undefined) {
    throw new AppError("SCOPE_MISSING", `A key gives nothing away that it does not hold itself, and this one lacks ${scope}. Use a key that holds it.`, {
      metadata: { scope },
    });
  }
  if (wish.expiresAt !== undefined && wish.expiresAt <= now) throw badExpiry("must lie in the future");
  if (granting.expiresAt === undefined) return;
  if (wish.expiresAt === undefined || wish.expiresAt > granting.expiresAt) {
    throw badExpiry(`must not be later than ${new Date(granting.expiresAt).toISOString()}, when the key ends that asks for it`);
  }
}

function badExpiry(description: string): AppError {
  return violationsError([{ field: "expire_time", reason: "VALIDATION_FAILED", description }]);
}

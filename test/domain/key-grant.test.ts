/** A key passes on what it has and nothing more. */
import { expect, it } from "vitest";
import type { AppError } from "../../src/base/errors.ts";
import { checkGrant } from "../../src/domain/key-grant.ts";

const now = Date.UTC(2030, 0, 1);
const day = 86_400_000;

function refusal(granting: { scopes?: string[]; expiresAt?: number }, wish: { scopes?: string[]; expiresAt?: number }): unknown {
  try {
    checkGrant({ scopes: ["a", "b"], expiresAt: undefined, ...granting }, { scopes: ["a"], expiresAt: undefined, ...wish }, now);
    return undefined;
  } catch (error) {
    const { reason, violations, metadata } = error as AppError;
    return violations[0]?.field ?? `${reason} ${metadata["scope"]}`;
  }
}

it("scopes of its own only, whichever they are", () => {
  expect(refusal({}, {})).toBeUndefined();
  expect(refusal({}, { scopes: ["b", "a"] })).toBeUndefined();
  expect(refusal({}, { scopes: ["a", "c"] })).toBe("SCOPE_MISSING c");
  expect(refusal({ scopes: [] }, {})).toBe("SCOPE_MISSING a");
});

it("no longer life than its own, and none that is over", () => {
  expect(refusal({}, { expiresAt: now + 1 })).toBeUndefined();
  expect(refusal({}, { expiresAt: now })).toBe("expire_time");
  expect(refusal({ expiresAt: now + day }, { expiresAt: now + day })).toBeUndefined();
  expect(refusal({ expiresAt: now + day }, { expiresAt: now + day + 1 })).toBe("expire_time");
  expect(refusal({ expiresAt: now + day }, {})).toBe("expire_time");
});

/** Keys that were found good are trusted for a moment, unless they are revoked. Time stands still here. */
import { expect, it } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { createAuthenticate, formatApiKey, hashSecret, newApiKey, TrustedKeys } from "../../src/rpc/api-keys.ts";

const clock = { now: () => 0, monotonic: () => 0 } as Clock;
const pepper = Buffer.alloc(32, 1);

function world() {
  const key = newApiKey("0197a2c4-0000-7000-8000-000000000001");
  const row = { tenantId: "acme", name: "k", scopes: ["a"], secretHash: hashSecret(key.secret, pepper), expiresAt: undefined, tenantSuspended: false };
  let revokedAt: number | undefined;
  let looks = 0;
  const meanwhile: (() => void)[] = [];
  const trusted = new TrustedKeys(clock);
  const keys = {
    findKey: async () => {
      looks++;
      const found = { ...row, revokedAt };
      for (const run of meanwhile.splice(0)) run();
      return found;
    },
  };
  const revoke = (): void => {
    revokedAt = 1;
    trusted.forget(key.keyId);
  };
  return { authenticate: createAuthenticate(keys, pepper, clock, trusted), text: formatApiKey(key), trusted, revoke, meanwhile, looks: () => looks };
}

it("a key is looked up once in a while, and at once when it was revoked", async () => {
  const { authenticate, text, revoke, looks, trusted } = world();
  for (let call = 0; call < 3; call++) expect(await authenticate(text, "peer")).toMatchObject({ tenantId: "acme" });
  expect(looks()).toBe(1);
  trusted.forget("key_another");
  await authenticate(text, "peer");
  expect(looks()).toBe(1);
  revoke();
  await expect(authenticate(text, "peer")).rejects.toMatchObject({ reason: "KEY_REVOKED" });
});

it("what was read just before a revocation is not trusted after it", async () => {
  const { authenticate, text, revoke, meanwhile } = world();
  meanwhile.push(revoke);
  expect(await authenticate(text, "peer")).toMatchObject({ tenantId: "acme" });
  await expect(authenticate(text, "peer")).rejects.toMatchObject({ reason: "KEY_REVOKED" });
});

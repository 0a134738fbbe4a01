/** Keys that were found good are trusted for a moment, unless they are revoked. The monotonic clock stands still here. */
import { expect, it } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { createAuthenticate, formatApiKey, hashSecret, newApiKey, TrustedKeys } from "../../src/rpc/api-keys.ts";
import type { FoundKey } from "../../src/store/key-repository.ts";

let now = 0;
const clock = { now: () => now, monotonic: () => 0 } as Clock;
const pepper = Buffer.alloc(32, 1);

function world() {
  const key = newApiKey("0197a2c4-0000-7000-8000-000000000001");
  let row: FoundKey = {
    ...{ tenantId: "acme", name: "k", scopes: ["a"], secretHash: hashSecret(key.secret, pepper), tenantSuspended: false },
    ...{ expiresAt: undefined, revokedAt: undefined, previousSecretHash: undefined, previousExpiresAt: undefined },
  };
  let looks = 0;
  const meanwhile: (() => void)[] = [];
  const trusted = new TrustedKeys(clock);
  const keys = {
    findKey: async () => {
      looks++;
      const found = row;
      for (const run of meanwhile.splice(0)) run();
      return found;
    },
  };
  const change = (changes: Partial<FoundKey>): void => {
    row = { ...row, ...changes };
    trusted.forget(key.keyId);
  };
  const revoke = (): void => change({ revokedAt: 1 });
  return {
    authenticate: createAuthenticate(keys, pepper, clock, trusted),
    key,
    text: formatApiKey(key),
    trusted,
    change,
    revoke,
    meanwhile,
    looks: () => looks,
  };
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

it("a rotated key opens with both secrets until the old one's time is over, also where it is trusted", async () => {
  const { authenticate, key, text, change } = world();
  const newer = { ...newApiKey("0197a2c4-0000-7000-8000-000000000002"), keyId: key.keyId };
  change({ secretHash: hashSecret(newer.secret, pepper), previousSecretHash: hashSecret(key.secret, pepper), previousExpiresAt: 100 });
  for (const one of [text, formatApiKey(newer)]) expect(await authenticate(one, "peer")).toMatchObject({ actor: key.keyId, tenantId: "acme" });
  now = 100;
  await expect(authenticate(text, "peer")).rejects.toMatchObject({ reason: "KEY_EXPIRED" });
  expect(await authenticate(formatApiKey(newer), "peer")).toMatchObject({ actor: key.keyId });
  // One rotation later the oldest is nobody's.
  change({ previousSecretHash: hashSecret(newer.secret, pepper), secretHash: Buffer.alloc(32, 9), previousExpiresAt: 1_000 });
  await expect(authenticate(text, "peer")).rejects.toMatchObject({ reason: "KEY_INVALID" });
  expect(await authenticate(formatApiKey(newer), "peer")).toMatchObject({ actor: key.keyId });
  change({ revokedAt: 1 });
  await expect(authenticate(formatApiKey(newer), "peer")).rejects.toMatchObject({ reason: "KEY_REVOKED" });
  now = 0;
});

it("a tenant that was suspended is noticed with the next call, those of others are not looked up again", async () => {
  const { authenticate, text, change, meanwhile, trusted, looks } = world();
  await authenticate(text, "peer");
  trusted.forgetTenant("rival");
  await authenticate(text, "peer");
  expect(looks()).toBe(1);
  trusted.forgetTenant("acme");
  // Suspended between the look and its answer.
  meanwhile.push(() => change({ tenantSuspended: true }));
  await authenticate(text, "peer");
  await expect(authenticate(text, "peer")).rejects.toMatchObject({ reason: "TENANT_SUSPENDED" });
});

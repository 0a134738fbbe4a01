/** From a slot to a value: bindings, what is missing, and what a storage in trouble means for the attempt. */
import { expect, it } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import { Mask } from "../../src/base/mask.ts";
import { attemptSecrets, type SecretSource } from "../../src/engine/attempt-secrets.ts";

const definition = { secretSlots: new Map([["maybe", { optional: true }]]) };
const source = (read: SecretSource["read"]): SecretSource => ({ read });
const values = source(async (tenantId, name) => (tenantId === "acme" && name === "crm-token" ? ["current-value", "former-value"] : undefined));

it("a slot leads to the bound secret, else to the one of its own name; every value that is valid is masked from then on", async () => {
  const mask = new Mask();
  const secrets = attemptSecrets(values, mask, "acme", { secretBindings: { crm: "crm-token" }, definition });
  expect(secrets.mask("current-value former-value")).toBe("current-value former-value");
  expect(await secrets.resolve("crm")).toEqual({ ok: true, value: "current-value" });
  expect(await secrets.resolveAll("crm-token")).toEqual({ ok: true, value: ["current-value", "former-value"] });
  expect(secrets.mask("current-value former-value")).toBe("*** ***");
});

it("a slot without a secret is missing unless it is optional; names of JavaScript objects are no bindings", async () => {
  const secrets = attemptSecrets(values, new Mask(), "acme", { secretBindings: {}, definition });
  expect(await secrets.resolve("maybe")).toEqual({ ok: true, value: undefined });
  expect(await secrets.resolveAll("maybe")).toEqual({ ok: true, value: [] });
  for (const slot of ["crm", "constructor", "__proto__"]) expect(await secrets.resolve(slot)).toMatchObject({ ok: false, fault: { name: "SECRET.MISSING" } });
  const foreign = attemptSecrets(values, new Mask(), "rival", { secretBindings: { crm: "crm-token" }, definition });
  expect(await foreign.resolve("crm")).toMatchObject({ ok: false, fault: { name: "SECRET.MISSING" } });
});

it.each([
  ["STORAGE_UNAVAILABLE", "NETWORK"],
  ["DEADLINE_EXCEEDED", "NETWORK"],
  ["INTERNAL_BUG", "SECRET.INVALID"],
] as const)("%s of the storage is the failure %s", async (reason, name) => {
  const failing = source(() => Promise.reject(new AppError(reason, "inside words")));
  const resolved = await attemptSecrets(failing, new Mask(), "acme", { definition }).resolve("crm");
  expect(resolved).toMatchObject({ ok: false, fault: { name } });
  expect(JSON.stringify(resolved)).not.toContain("inside words");
});

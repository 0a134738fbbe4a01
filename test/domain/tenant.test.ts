import { expect, it } from "vitest";
import { egressFaults, quotaOf, readQuotas, tenantIdFaults, usualQuotas } from "../../src/domain/tenant.ts";

it("a tenant's id is a name that can stand in every log and path", () => {
  for (const id of ["a", "acme", "acme-2", "a_b", `a${"b".repeat(62)}`]) expect(tenantIdFaults(id, "tenant.id"), id).toEqual([]);
  for (const id of ["", "A", "2a", "-a", "a b", "a\n", "ä", "a.b", "__proto__", `a${"b".repeat(63)}`, "system"])
    expect(tenantIdFaults(id, "tenant.id"), id).toMatchObject([{ field: "tenant.id", reason: "VALIDATION_FAILED" }]);
});

it("each target that cannot be read is named by its place", () => {
  const check = (entry: string): void => {
    if (!entry.includes(":")) throw new Error(`no port in ${entry}`);
  };
  expect(egressFaults(["a:1", "b", "c:2", "d"], check, "tenant.egress_allow")).toEqual([
    { field: "tenant.egress_allow[1]", reason: "VALIDATION_FAILED", description: "no port in b" },
    { field: "tenant.egress_allow[3]", reason: "VALIDATION_FAILED", description: "no port in d" },
  ]);
});

it("a quota that a tenant does not have is the service's; what is stored and no number of ours is passed over", () => {
  expect(quotaOf({}, "files")).toBe(usualQuotas.files);
  expect(quotaOf({ files: 0 }, "files")).toBe(0);
  for (const nothing of [undefined, null, "x", 3, []]) expect(readQuotas(nothing)).toEqual({});
  const stored: unknown = JSON.parse('{"files": 3, "secrets": "4", "__proto__": {"apiKeys": 1}, "later": 5, "fileBytes": 1125899906842624}');
  expect(readQuotas(stored)).toEqual({ files: 3, fileBytes: 2 ** 50 });
  expect(quotaOf(readQuotas(stored), "apiKeys")).toBe(usualQuotas.apiKeys);
});

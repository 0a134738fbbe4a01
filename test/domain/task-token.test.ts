import { describe, expect, it } from "vitest";
import { type OperationRef, openToken, sealToken, taskIdOf, taskTokenCharactersMax } from "../../src/domain/task-token.ts";

const key = Buffer.alloc(32, 7);
const ref: OperationRef = { executionId: "exe_01K8Z0000000000000000000AB", path: "orders[3]/charge", operation: "compensate", generation: 2, attempt: 41 };

describe("a task token", () => {
  it("gives back what it was made of, in the tenant it was made for", () => {
    expect(openToken(key, "acme", sealToken(key, "acme", ref))).toEqual(ref);
  });

  it("is worth nothing in another tenant, under another key, changed, cut or padded", () => {
    const token = sealToken(key, "acme", ref);
    const bytes = Buffer.from(token, "base64url");
    const changed = [...bytes.keys()].map((index) => {
      const copy = Buffer.from(bytes);
      copy[index] = (copy[index] as number) ^ 1;
      return copy.toString("base64url");
    });
    expect(openToken(key, "other", token)).toBeUndefined();
    expect(openToken(Buffer.alloc(32, 8), "acme", token)).toBeUndefined();
    for (const bad of [...changed, "", "x", token.slice(0, -1), `${token}A`, ` ${token}`, `${token}=`, "A".repeat(2_000)]) {
      expect(openToken(key, "acme", bad), bad).toBeUndefined();
    }
  });

  it("fits its field for the longest path a definition can have", () => {
    const deepest = `${Array.from({ length: 8 }, () => `${"a".repeat(64)}[9999]`).join("/")}/${"b".repeat(64)}`;
    expect(sealToken(key, "acme", { ...ref, path: deepest }).length).toBeLessThanOrEqual(taskTokenCharactersMax);
  });

  it("belongs to a task whose id is the same wherever it is asked for and another for each attempt", () => {
    const ids = [ref, { ...ref, attempt: 42 }, { ...ref, operation: "action" as const }, { ...ref, generation: 3 }, { ...ref, path: "charge" }].map(taskIdOf);
    expect(new Set(ids).size).toBe(5);
    expect(taskIdOf({ ...ref })).toBe(ids[0]);
    expect(ids[0]).toMatch(/^tsk_[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
  });
});

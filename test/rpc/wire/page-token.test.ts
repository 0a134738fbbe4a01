import { describe, expect, it } from "vitest";
import { AppError } from "../../../src/base/errors.ts";
import { decodePageToken, encodePageToken, listingHash, type PageTokenScope, pageSizeOf } from "../../../src/rpc/wire/page-token.ts";
import { fc } from "../../support/property.ts";

const key = Buffer.alloc(32, 7);
const scope: PageTokenScope = { tenantId: "acme", method: "a.B/List", filterHash: listingHash("state = FAILED", "", false) };

function reasonOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    return error instanceof AppError ? error.reason : String(error);
  }
  return undefined;
}

describe("a page token", () => {
  it("gives back its position to the listing it came from", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 60 }), fc.string(), fc.string(), (after, tenantId, filterHash) => {
        const mine = { tenantId, method: "a.B/List", filterHash };
        expect(decodePageToken(key, encodePageToken(key, { ...mine, after }), mine)).toBe(after);
      }),
    );
  });

  it("is refused by any other listing: tenant, method, filter", () => {
    const token = encodePageToken(key, { ...scope, after: "exe_1" });
    for (const other of [{ tenantId: "evil" }, { method: "a.B/Count" }, { filterHash: listingHash("state = FAILED", "", true) }]) {
      expect(reasonOf(() => decodePageToken(key, token, { ...scope, ...other }))).toBe("PAGE_TOKEN_MISMATCH");
    }
    // Parts that would be the same text when joined.
    const shifted = encodePageToken(key, { tenantId: "ac", method: "mea.B/List", filterHash: scope.filterHash, after: "x" });
    expect(reasonOf(() => decodePageToken(key, shifted, scope))).toBe("PAGE_TOKEN_MISMATCH");
  });

  it("is refused when any bit of it was changed", () => {
    const bytes = Buffer.from(encodePageToken(key, { ...scope, after: "exe_1" }), "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(
        reasonOf(() => decodePageToken(key, changed.toString("base64url"), scope)),
        `bit ${bit}`,
      ).toBe("PAGE_TOKEN_INVALID");
    }
  });

  it("is refused when it was cut, lengthened, sealed with another key or is no token at all", () => {
    const token = encodePageToken(key, { ...scope, after: "exe_1" });
    const foreign = encodePageToken(Buffer.alloc(32, 8), { ...scope, after: "exe_1" });
    for (const text of [
      token.slice(0, -1),
      token.slice(0, 20),
      `${token}A`,
      `${token}=`,
      ` ${token}`,
      `${token}\u0000`,
      foreign,
      "x",
      "%%%",
      "A".repeat(2_000),
    ]) {
      expect(
        reasonOf(() => decodePageToken(key, text, scope)),
        text,
      ).toBe("PAGE_TOKEN_INVALID");
    }
    fc.assert(fc.property(fc.string({ minLength: 1 }), (text) => reasonOf(() => decodePageToken(key, text, scope)) === "PAGE_TOKEN_INVALID"));
  });

  it("is empty for the first page", () => {
    expect(decodePageToken(key, "", scope)).toBeUndefined();
  });

  it("fits the longest step path that eight nested loops can make", () => {
    const path = Array.from({ length: 8 }, () => `${"s".repeat(64)}[9999]`).join("/");
    const token = encodePageToken(key, { ...scope, after: path });
    expect(token.length).toBeLessThanOrEqual(1_024);
    expect(decodePageToken(key, token, scope)).toBe(path);
  });
});

it("bounds the page size and refuses a negative one by its field", () => {
  expect([0, 1, 1_000, 1_001, 2_147_483_647].map(pageSizeOf)).toEqual([50, 1, 1_000, 1_000, 1_000]);
  expect(() => pageSizeOf(-1)).toThrow(expect.objectContaining({ reason: "VALIDATION_FAILED", violations: [expect.objectContaining({ field: "page_size" })] }));
});

/** A masked text holds none of the forms in which programs write a value; everything else is left as it was. */

import { describe, expect, it } from "vitest";
import type { Json } from "../../src/base/json.ts";
import { Mask } from "../../src/base/mask.ts";
import { fc } from "../support/property.ts";

const secret = `p@ss/w"ö<rd>+&'~\\x`;
const maskOf = (...values: string[]): Mask => {
  const mask = new Mask();
  for (const value of values) mask.conceal(value);
  return mask;
};

/** How an echoing server may write it. */
const written: Readonly<Record<string, (value: string) => string>> = {
  plainly: (value) => value,
  "as JSON": (value) => JSON.stringify(value),
  "as JSON in JSON": (value) => JSON.stringify(JSON.stringify(value)),
  "as JSON with escaped slashes": (value) => JSON.stringify(value).replaceAll("/", "\\/"),
  "as JSON in ASCII": (value) => JSON.stringify(value).replaceAll("ö", "\\u00f6"),
  "in a query": (value) => `?q=${encodeURIComponent(value)}&more`,
  "in a query, lower case": (value) => encodeURIComponent(value).replaceAll(/%../g, (code) => code.toLowerCase()),
  "in a form": (value) => new URLSearchParams({ q: value }).toString(),
  "in a URL's query as it stands": (value) => encodeURI(value),
  "in HTML": (value) => `<p>${value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")}</p>`,
  "as hex": (value) => Buffer.from(value).toString("hex"),
  "as base64": (value) => Buffer.from(value).toString("base64"),
  "as base64url": (value) => Buffer.from(value).toString("base64url"),
  "behind one byte in base64": (value) => Buffer.from(`a${value}`).toString("base64"),
  "behind two bytes in base64": (value) => Buffer.from(`ab${value}`).toString("base64"),
  "in basic credentials": (value) => `Basic ${Buffer.from(`alice:${value}`).toString("base64")}`,
};

describe("a value is masked where it is written", () => {
  it.each(Object.entries(written))("%s", (_, write) => {
    const text = `before ${write(secret)} after`;
    const mask = maskOf(secret);
    for (const masked of [
      mask.text(text),
      mask.bytes(Buffer.from(text)).toString(),
      String(mask.json(text)),
      JSON.stringify(mask.json({ a: [{ [text]: text }] })),
    ]) {
      expect(masked).toContain("***");
      expect(masked).not.toContain("p@ss");
      expect(masked).not.toContain(Buffer.from(secret.slice(2, -2)).toString("hex"));
      expect(Buffer.from(masked.replaceAll(/[^A-Za-z0-9+/]/g, ""), "base64").toString("latin1")).not.toContain("ss/w");
      expect(masked).toMatch(/before .*after/s);
    }
  });

  it("in bytes of UTF-16, whichever byte comes first", () => {
    const wide = Buffer.from(`x${secret}y`, "utf16le");
    expect(maskOf(secret).bytes(wide).includes(Buffer.from(secret, "utf16le"))).toBe(false);
    expect(maskOf(secret).bytes(Buffer.from(wide).swap16()).includes(Buffer.from(secret, "utf16le").swap16())).toBe(false);
  });
});

it("any value in any text: it is gone, and a text without it stays the same", () => {
  const characters = fc.string({ unit: "grapheme", minLength: 4, maxLength: 40 });
  fc.assert(
    fc.property(characters, fc.string({ maxLength: 20 }), fc.string({ maxLength: 20 }), fc.integer({ min: 0, max: 3 }), (value, before, after, times) => {
      const mask = maskOf(value);
      const json: Json = { list: Array.from({ length: times }, () => `${before}${value}${after}`), [value]: 1, other: before };
      const masked = JSON.stringify(mask.json(json));
      if (!"***".includes(value) && !`${before}${after}***`.includes(value.slice(0, 1))) expect(masked).not.toContain(JSON.stringify(value).slice(1, -1));
      if (!mask.text(before).includes("***")) expect(mask.json(before)).toBe(before);
    }),
  );
});

it("of two values, one inside the other, neither is left in part", () => {
  expect(maskOf("inner-value", "outer inner-value end").text("a outer inner-value end b inner-value c")).toBe("a *** b *** c");
});

it("texts too short to mean anything are left, and nothing is copied when there is nothing to mask", () => {
  const mask = maskOf("abc");
  expect(mask.text("abc")).toBe("abc");
  const value = { a: ["text"] };
  expect(mask.json(value)).toBe(value);
  const bytes = Buffer.from("text");
  expect(maskOf("secret").bytes(bytes)).toBe(bytes);
});

it("five megabytes are searched without keeping the process for long", () => {
  const mask = maskOf(secret, "another-secret-value", "x".repeat(2_000));
  const rows = Array.from({ length: 40_000 }, (_, index) => ({ id: index, text: `some ordinary text of row ${index}`, more: ["a", "b"] }));
  const spent = process.cpuUsage();
  expect(mask.json(rows)).toBe(rows);
  mask.bytes(Buffer.alloc(5 * 1024 * 1024, "ordinary "));
  // Generous: about 0.1 s here; a search of each text by itself took several seconds.
  expect(process.cpuUsage(spent).user / 1e6).toBeLessThan(2);
});

import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { parseDurationMs } from "../../src/base/duration.ts";
import { AppError, errorReasons, invariant, messageOf, violationsError } from "../../src/base/errors.ts";
import { formatId, idPrefixes, parseId, systemIds, uuidV7 } from "../../src/base/ids.ts";
import { canonicalJson, findJsonFault, isJsonObject, type Json, jsonBytes } from "../../src/base/json.ts";
import { limits } from "../../src/base/limits.ts";
import { fc } from "../support/property.ts";

describe("ids", () => {
  it("can be read back as the uuid they were made of", () => {
    fc.assert(fc.property(fc.uuid(), (uuid) => parseId("execution", formatId("execution", uuid)) === uuid));
  });

  it("sort by the time they were made", () => {
    const id = (at: number): string => formatId("workflow", uuidV7(at, new Uint8Array(10).fill(255)));
    const later = (at: number): string => formatId("workflow", uuidV7(at, new Uint8Array(10)));
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 48 - 2 }), (at) => id(at) < later(at + 1)));
  });

  it("have a prefix by kind and are version 7", () => {
    expect(systemIds.next("execution")).toMatch(/^exe_[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(parseId("execution", systemIds.next("execution"))).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(Object.values(idPrefixes)).size).toBe(Object.keys(idPrefixes).length);
  });

  it.each([
    "",
    "exe_",
    "wfl_00000000000000000000000001",
    "exe_0000000000000000000000000",
    "exe_000000000000000000000000001",
    "exe_0000000000000000000000000U",
    "exe_0000000000000000000000000l",
    "exe_ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
  ])("are not found in %j", (text) => expect(parseId("execution", text)).toBeUndefined());
});

describe("JSON values", () => {
  const deep = (levels: number): Json => (levels === 0 ? 1 : { a: deep(levels - 1) });

  it.each<[string, unknown, string]>([
    ["a NUL in a text", { a: [1, "x\u0000"] }, "a[1]"],
    ["a NUL in a key", { a: { "b\u0000": 1 } }, "a.b\u0000"],
    ["half of a surrogate pair", ["\ud83d"], "[0]"],
    ["a number that is none", { n: Number.NaN }, "n"],
    ["an infinite number", -Infinity, ""],
    ["what is no JSON at all", { a: undefined }, "a"],
    ["a big integer", [1n], "[0]"],
    ["more levels than allowed", deep(limits.jsonDepthMax + 1), Array(limits.jsonDepthMax).fill("a").join(".")],
  ])("are refused with their place: %s", (_, value, path) => {
    expect(findJsonFault(value)?.path).toBe(path);
  });

  it("are accepted up to the deepest level, with whole surrogate pairs", () => {
    expect(findJsonFault(deep(limits.jsonDepthMax))).toBeUndefined();
    expect(findJsonFault(["😀", -0, 1e308, null, {}])).toBeUndefined();
  });

  it("are measured in bytes, not characters", () => {
    expect(jsonBytes("é😀")).toBe(8);
  });

  it("are told apart from lists and null", () => {
    expect([{}, [], null, "x", Object.create(null)].map(isJsonObject)).toEqual([true, false, false, false, true]);
  });

  it("have one canonical text, whatever the order of their keys", () => {
    const shuffled = (value: Json): Json => {
      if (Array.isArray(value)) return value.map(shuffled);
      return isJsonObject(value)
        ? Object.fromEntries(
            Object.entries(value)
              .reverse()
              .map(([key, member]) => [key, shuffled(member)]),
          )
        : value;
    };
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (drawn) => {
        const value = JSON.parse(JSON.stringify(drawn)) as Json;
        expect(canonicalJson(shuffled(value))).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(value);
      }),
    );
    expect(canonicalJson({ b: [2, { d: 1, c: null }], a: "x" })).toBe('{"a":"x","b":[2,{"c":null,"d":1}]}');
  });
});

describe("durations", () => {
  it.each<[string, number | undefined]>([
    ["0s", 0],
    ["1s", 1_000],
    ["1.5s", 1_500],
    ["0.000000001s", 0.000001],
    ["-0.25s", -250],
    ["-1.5s", -1_500],
    ["315576000000s", 315_576_000_000_000],
    ["1", undefined],
    ["1m", undefined],
    ["1.s", undefined],
    [".5s", undefined],
    ["1e3s", undefined],
    ["+1s", undefined],
    [" 1s", undefined],
    ["1.0000000001s", undefined],
  ])("%j are %s milliseconds", (text, durationMs) => {
    expect(parseDurationMs(text)).toBe(durationMs);
  });

  it("are read to the millisecond, whatever their size", () => {
    fc.assert(fc.property(fc.integer({ min: -1e12, max: 1e12 }), (durationMs) => parseDurationMs(`${durationMs / 1000}s`) === durationMs));
  });
});

describe("errors", () => {
  it("carry the code of their reason and what a caller may act on", () => {
    const error = new AppError("OVERLOADED", "too much; come back", { retryAfterMs: 1_000, metadata: { limit: "5" }, cause: new Error("inner") });
    expect(error).toMatchObject({ name: "AppError", code: "RESOURCE_EXHAUSTED", retryAfterMs: 1_000, metadata: { limit: "5" }, violations: [] });
    expect(messageOf(error.cause)).toBe("inner");
    expect(messageOf("text")).toBe("text");
  });

  it("have no reason twice", () => {
    expect(new Set(errorReasons).size).toBe(errorReasons.length);
  });

  it("name the first of several violations and how many more there are", () => {
    const violation = (field: string) => ({ field, reason: "LIMIT_EXCEEDED" as const, description: "is too long" });
    expect(violationsError([violation("a"), violation("b"), violation("c")])).toMatchObject({
      reason: "LIMIT_EXCEEDED",
      message: "a: is too long (and 2 more)",
    });
    expect(violationsError([violation("a")]).message).toBe("a: is too long");
    expect(() => violationsError([])).toThrow();
  });

  it("stop what met a broken invariant", () => {
    expect(() => invariant(false, "two is two")).toThrow(expect.objectContaining({ reason: "INTERNAL_BUG" }));
    expect(() => invariant(1, "one is something")).not.toThrow();
  });
});

describe("the system's clock", () => {
  it("ends a sleep early with the reason of its signal", async () => {
    const stop = new AbortController();
    const sleep = systemClock.sleep(60_000, stop.signal);
    stop.abort(new Error("enough"));
    await expect(sleep).rejects.toThrow("enough");
  });

  it("does not end a sleep at once that is longer than a timer can be", async () => {
    const stop = new AbortController();
    const sleep = systemClock.sleep(2 ** 31 + 1_000, stop.signal).then(
      () => "woke",
      () => "aborted",
    );
    await systemClock.sleep(20);
    stop.abort();
    expect(await sleep).toBe("aborted");
  });
});

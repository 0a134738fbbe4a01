import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { FailureSchema } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import type { Json } from "../../../src/base/json.ts";
import type { Failure } from "../../../src/domain/failure.ts";
import { failureFromMessage, failureToMessage } from "../../../src/rpc/wire/failure.ts";
import { dateOf, durationOf, msOfDuration, msOfTimestamp, timestampOf } from "../../../src/rpc/wire/time.ts";
import { jsonFromValue, structFromJson, valueFromJson } from "../../../src/rpc/wire/value.ts";
import { fc } from "../../support/property.ts";

const json = fc.jsonValue({ maxDepth: 5, depthSize: "large" }) as fc.Arbitrary<Json>;

describe("free JSON", () => {
  it("comes back unchanged through the wire", () => {
    fc.assert(
      fc.property(json, (value) => {
        const sent = fromBinary(ValueSchema, toBinary(ValueSchema, valueFromJson(value)));
        expect(JSON.parse(JSON.stringify(jsonFromValue(sent)))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it("tells null from absent", () => {
    expect(valueFromJson(undefined)).toBeUndefined();
    expect(jsonFromValue(undefined)).toBeUndefined();
    expect(jsonFromValue(valueFromJson(null))).toBeNull();
    expect(jsonFromValue(create(ValueSchema))).toBeNull();
  });

  it("keeps a member named __proto__ as data", () => {
    const hostile = JSON.parse('{"__proto__": {"admin": true}, "a": 1}') as Json;
    const sent = fromBinary(ValueSchema, toBinary(ValueSchema, valueFromJson(hostile)));
    expect(JSON.stringify(jsonFromValue(sent))).toBe('{"__proto__":{"admin":true},"a":1}');
    expect(({} as Record<string, unknown>)["admin"]).toBeUndefined();
  });

  it("takes only objects for a Struct", () => {
    expect(structFromJson({ a: 1 })).toEqual({ a: 1 });
    for (const other of [undefined, null, 1, "x", [1]]) expect(structFromJson(other)).toBeUndefined();
  });
});

describe("time", () => {
  const moment = fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 });
  it("keeps every millisecond between the years 1 and 9999", () => {
    fc.assert(
      fc.property(moment, (atMs) => {
        const sent = fromBinary(TimestampSchema, toBinary(TimestampSchema, timestampOf(atMs)));
        expect(sent.nanos).toBeGreaterThanOrEqual(0);
        expect(msOfTimestamp(sent)).toBe(atMs);
        expect(dateOf(sent).getTime()).toBe(atMs);
      }),
    );
  });

  it("keeps every span, negative ones too", () => {
    fc.assert(
      fc.property(fc.integer({ min: -31_622_400_000, max: 31_622_400_000 }), (spanMs) => {
        expect(msOfDuration(fromBinary(DurationSchema, toBinary(DurationSchema, durationOf(spanMs))))).toBe(spanMs);
      }),
    );
  });

  it("rounds fractions of a millisecond, which the wire could not carry as they are", () => {
    fc.assert(
      fc.property(fc.double({ min: -1e12, max: 1e12, noNaN: true }), (atMs) => {
        expect(() => [toBinary(TimestampSchema, timestampOf(atMs)), toBinary(DurationSchema, durationOf(atMs))]).not.toThrow();
      }),
    );
    expect(msOfTimestamp(timestampOf(1.6))).toBe(2);
  });

  it("leaves the absent absent", () => {
    expect([timestampOf(undefined), durationOf(undefined), msOfTimestamp(undefined), msOfDuration(undefined), dateOf(undefined)]).toEqual(
      Array(5).fill(undefined),
    );
  });
});

describe("failures", () => {
  const failures = fc.letrec<{ failure: Failure }>((tie) => ({
    failure: fc.record(
      {
        name: fc.string(),
        message: fc.string(),
        details: fc.oneof(fc.constant(null), fc.integer(), fc.dictionary(fc.constantFrom("a", "b"), fc.string(), { noNullPrototype: true })),
        stepPath: fc.string({ minLength: 1 }),
        cause: fc.oneof({ maxDepth: 8, withCrossShrink: true }, fc.constant({ name: "NETWORK", message: "gone" }), tie("failure")),
      },
      { requiredKeys: ["name", "message"] },
    ) as fc.Arbitrary<Failure>,
  })).failure;

  it("come back unchanged through the wire", () => {
    fc.assert(
      fc.property(failures, (failure) => {
        expect(failureFromMessage(fromBinary(FailureSchema, toBinary(FailureSchema, failureToMessage(failure))))).toEqual(failure);
      }),
    );
  });

  it("are cut after sixteen causes, so that no message is nested without end", () => {
    let deep: Failure = { name: "N", message: "0" };
    for (let level = 1; level < 1_000; level++) deep = { name: "N", message: `${level}`, cause: deep };
    let depth = 0;
    for (let message: { cause?: unknown } | undefined = failureToMessage(deep); message; message = message.cause as typeof message) depth++;
    expect(depth).toBe(17);
  });
});

import { describe, expect, it } from "vitest";
import { baggageOf, carriedBy, readBaggage, readTracestate } from "../../src/base/trace-context.ts";

describe("tracestate", () => {
  it("is passed on member by member, in its order, without the blanks around them", () => {
    expect(readTracestate("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")).toBe("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
    expect(readTracestate(" a=1 ,\tfw529a3039@dt=x*y/z-_ ,, b= 2 3")).toBe("a=1,fw529a3039@dt=x*y/z-_,b= 2 3");
  });

  it.each([
    ["nothing", ""],
    ["no member", ","],
    ["a member without a value", "a"],
    ["an empty value", "a="],
    ["a key in capitals", "Vendor=1"],
    ["two equals signs", "a=b=c"],
    ["a line break", "a=1\r\nx-tenant-id: evil"],
    ["what is no ASCII", "a=é"],
    ["a key twice", "a=1,b=2,a=3"],
    ["more than 32 members", Array.from({ length: 33 }, (_, index) => `k${index}=1`).join(",")],
    ["a value of 257 characters", `a=${"x".repeat(257)}`],
    ["too much of everything", `a=${"x".repeat(9_000)}`],
  ])("with %s is left out whole", (_what, header) => {
    expect(readTracestate(header)).toBeUndefined();
  });

  it("loses its oldest members when it is longer than W3C asks for", () => {
    const members = Array.from({ length: 10 }, (_, index) => `k${index}=${"x".repeat(97)}`);
    const kept = readTracestate(members.join(",")) ?? "";
    expect(kept).toBe(members.slice(0, 5).join(","));
    expect(kept.length).toBeLessThanOrEqual(512);
  });
});

describe("baggage", () => {
  it("keeps members that are ids, without their properties", () => {
    expect(readBaggage("order.id=A-7;ttl=5, user=jane%20doe ,empty=,cart=9:1,bad key=1,x=a b,y=é")).toBe("order.id=A-7,cart=9:1");
    expect(readBaggage("a=1,a=2")).toBe("a=2");
    for (const nothing of ["", null, undefined, ",", "=x", "a=1\r\nb: 2", `a=${"x".repeat(8_193)}`]) expect(readBaggage(nothing)).toBeUndefined();
  });

  it("of the service's own names is not believed", () => {
    expect(readBaggage("saga.id=exe_forged,saga.step=x,correlation.id=y,order.id=7")).toBe("order.id=7");
  });

  it("is sent with the ids of the call first, encoded, within 64 members and 8,192 bytes", () => {
    const call = { executionId: "exe_1", stepPath: "orders[3]/charge", correlationId: "trip 7,é" };
    expect(baggageOf(call, "order.id=7")).toBe("saga.id=exe_1,saga.step=orders%5B3%5D%2Fcharge,correlation.id=trip%207%2C%C3%A9,order.id=7");
    expect(baggageOf({ ...call, correlationId: "" }, undefined)).toBe("saga.id=exe_1,saga.step=orders%5B3%5D%2Fcharge");
    const many = readBaggage(Array.from({ length: 80 }, (_, index) => `k${index}=1`).join(","));
    expect(baggageOf(call, many)?.split(",")).toHaveLength(64);
    const long = readBaggage(Array.from({ length: 60 }, (_, index) => `key${index}=${"x".repeat(120)}`).join(","));
    expect(long?.length).toBeGreaterThan(3_900);
    expect((baggageOf({ ...call, stepPath: "é".repeat(1_000) }, long) ?? "").length).toBeLessThanOrEqual(8_192);
  });
});

it("both are taken over from whatever carries them, and nothing else", () => {
  expect(carriedBy({ tracestate: "a=1", other: 2 } as never)).toEqual({ tracestate: "a=1" });
  expect([carriedBy(undefined), carriedBy({})]).toEqual([{}, {}]);
});

import { describe, expect, it } from "vitest";
import { openToken } from "../../src/domain/task-token.ts";
import { createSiblings } from "../../src/steps/siblings.ts";
import type { StepCall } from "../../src/steps/step-handler.ts";

const key = Buffer.alloc(32, 7);
const call = {
  tenantId: "acme",
  executionId: "exe_00000000000000000000000001",
  correlationId: "trip 7,é",
  stepPath: "charge",
  attempt: 2,
  operation: "action",
} as StepCall;

describe("siblings", () => {
  const siblings = createSiblings(["orders.example:8443", "10.0.0.7:*"], key);

  it("alone get token, tenant and baggage, whatever the case of their name", () => {
    for (const url of ["https://ORDERS.example:8443/x", "http://10.0.0.7:9/", "https://10.0.0.7/"]) {
      const headers = siblings.headersFor(call, url);
      expect(headers, url).toMatchObject({ "x-tenant-id": "acme", baggage: `saga.id=${call.executionId},saga.step=charge,correlation.id=trip%207%2C%C3%A9` });
      expect(openToken(key, "acme", headers["saga-token"] ?? "")).toMatchObject({ path: "charge", operation: "action", attempt: 2 });
    }
    for (const url of ["https://orders.example/x", "https://orders.example:8443.evil.example/", "https://evil.example:8443/orders.example:8443", "nonsense"]) {
      expect(siblings.headersFor(call, url), url).toEqual({});
    }
  });

  it("get what came with the start behind the call's own ids, also where they are only told something", () => {
    const carrying = { ...call, carried: { baggage: "order.id=7" } };
    const { baggage } = siblings.headersFor(carrying, "http://10.0.0.7/");
    expect(baggage).toMatch(/^saga\.id=.*,correlation\.id=[^,]*,order\.id=7$/);
    expect(siblings.baggageFor(carrying, "http://10.0.0.7/")).toEqual({ baggage });
    expect(siblings.baggageFor(carrying, "http://10.0.0.8/")).toEqual({});
  });

  it("are named by host and port, or the server does not start", () => {
    expect(() => createSiblings(["orders.example"], key)).toThrow('sibling "orders.example" cannot be read');
  });
});

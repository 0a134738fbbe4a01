import { describe, expect, it } from "vitest";
import { limits } from "../../src/base/limits.ts";
import { componentsOf, overallHealth, type ServiceLook } from "../../src/domain/service-status.ts";

const well: ServiceLook = {
  postgres: { latencyMs: 0.4, version: 180_004 },
  leaseHeld: true,
  journal: { backlogRows: 0, commitMs: 0.6 },
  redis: { state: "answers", latencyMs: 0.1 },
  queues: [{ queue: "default", waiting: 3, oldestAgeMs: 900, workers: 2 }],
};
const look = (change: Partial<ServiceLook>) => {
  const components = componentsOf({ ...well, ...change });
  return { overall: overallHealth(components), of: (name: string) => components.find((one) => one.name === name) };
};

describe("the state of the service", () => {
  it("is ok while every part is, and Redis need not be there", () => {
    expect(look({}).overall).toBe("ok");
    expect(look({}).of("postgres")).toMatchObject({ state: "ok", latencyMs: 0.4, message: "PostgreSQL 18.4" });
    const without = look({ redis: { state: "off" } });
    expect(without.overall).toBe("ok");
    expect(without.of("redis")).toMatchObject({ state: "disabled", latencyMs: undefined });
  });

  it("is degraded while Redis is silent or not used, and while tasks wait for workers that are not there", () => {
    for (const state of ["silent", "unused"] as const) expect(look({ redis: { state } })).toMatchObject({ overall: "degraded" });
    const queues = ["a", "b", "c", "d"].map((queue, index) => ({ queue, waiting: 1, oldestAgeMs: index * 10_000, workers: 0 }));
    const left = look({ queues });
    expect(left.overall).toBe("degraded");
    expect(left.of("workers")?.message).toBe("tasks wait in 4 queues that no worker polls (a, b, c …), the oldest for 30 s");
  });

  it("is unavailable without PostgreSQL or a lease, and when starts are refused", () => {
    const away = look({ postgres: undefined, queues: undefined });
    expect(away.overall).toBe("unavailable");
    expect(away.of("workers")?.state).toBe("unavailable");
    expect(look({ leaseHeld: false }).of("engine")?.state).toBe("unavailable");
    expect(look({ leaseHeld: false }).of("journal")?.state).toBe("unavailable");
    const backlog = (backlogRows: number) => look({ journal: { backlogRows, commitMs: undefined } }).of("journal")?.state;
    expect([0, limits.backlogStartsMax / 10, limits.backlogStartsMax - 1, limits.backlogStartsMax].map(backlog)).toEqual([
      "ok",
      "ok",
      "degraded",
      "unavailable",
    ]);
  });
});

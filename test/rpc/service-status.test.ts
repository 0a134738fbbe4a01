/** GetServiceStatus while something is away: it answers, and says what. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createContextValues, type HandlerContext } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { HealthState } from "#gen/pyairtable/workflow/v1/monitoring_pb.js";
import type { GetServiceStatusResponseSchema } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { AppError } from "../../src/base/errors.ts";
import { callerKey } from "../../src/rpc/interceptors/call.ts";
import type { RpcParts } from "../../src/rpc/parts.ts";
import type { SelfReport } from "../../src/rpc/process-figures.ts";
import { serviceStatusRpcs } from "../../src/rpc/service-status-rpcs.ts";

const nothing = { count: 0, p50: undefined, p95: undefined, p99: undefined };
const self: SelfReport = {
  version: "1.2.3",
  replicaId: "replica-1",
  startedAt: 0,
  postgresVersion: 180_004,
  leaseHeld: () => true,
  journalBacklogRows: () => 0,
  redis: async () => ({ state: "off" }),
  figures: () => ({ from: 0, to: 1, journalCommit: nothing, sagaCoordination: nothing, stepOverhead: [], eventLoopDelay: nothing, caches: [] }),
  moment: () => ({ residentBytes: 0, heapUsedBytes: 0, poolMax: 0, poolOpen: 0, poolIdle: 0, poolWaiting: 0 }),
};
const caller = { tenantId: "acme", actor: "key_1", scopes: new Set<string>(), correlationId: "", requestId: "" };
const context = { values: createContextValues().set(callerKey, caller) } as HandlerContext;
type Status = MessageInitShape<typeof GetServiceStatusResponseSchema>;

async function status(listReplicas: () => Promise<never>, clock: Clock = systemClock): Promise<Status> {
  const parts = { stats: { listReplicas }, tasks: { queues: listReplicas }, self, clock } as unknown as RpcParts;
  return (await serviceStatusRpcs(parts).getServiceStatus({ $typeName: "pyairtable.workflow.v1.GetServiceStatusRequest" }, context)) as Status;
}

const stateOf = ({ components = [] }: Status, name: string) => components.find((one) => one.name === name)?.state;

describe("the status while PostgreSQL", () => {
  const away = { state: HealthState.UNAVAILABLE, version: "1.2.3", replicas: [{ id: "replica-1", answering: true }] };

  test("cannot be reached says so, and knows the answering replica alone", async () => {
    const answer = await status(async () => {
      throw new AppError("STORAGE_UNAVAILABLE", "away");
    });
    expect(answer).toMatchObject(away);
    expect(["postgres", "workers", "engine", "redis"].map((name) => stateOf(answer, name))).toEqual([
      HealthState.UNAVAILABLE,
      HealthState.UNAVAILABLE,
      HealthState.OK,
      HealthState.DISABLED,
    ]);
  });

  test("is frozen is answered after three seconds, not never", async () => {
    const slept: number[] = [];
    const clock: Clock = { ...systemClock, sleep: async (durationMs) => void slept.push(durationMs) };
    expect(await status(() => new Promise(() => undefined), clock)).toMatchObject(away);
    expect(slept).toEqual([3_000, 3_000]);
  });

  test("is asked wrongly is a bug, which is not hidden", async () => {
    await expect(
      status(async () => {
        throw new TypeError("a bug");
      }),
    ).rejects.toThrow("a bug");
  });
});

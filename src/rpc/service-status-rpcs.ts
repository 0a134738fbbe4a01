/** MonitoringService: how the service is. It has to answer while something is away, so nothing that is asked for may fail the call. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type ComponentStatus,
  ComponentStatusSchema,
  HealthState,
  type ReplicaStatus,
  ReplicaStatusSchema,
} from "#gen/pyairtable/workflow/v1/monitoring_pb.js";
import { GetServiceStatusResponseSchema, type MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { AppError } from "../base/errors.ts";
import { type ComponentHealth, componentsOf, type HealthWord, overallHealth } from "../domain/service-status.ts";
import type { LiveReplica } from "../store/stats-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { durationOf, fineDurationOf, timestampOf } from "./wire/time.ts";

type StatusRpcs = Pick<ServiceImpl<typeof MonitoringService>, "getServiceStatus">;

/** Commits that the journal's latency is told of. */
const commitWindowMs = 5 * 60_000;
const queuesMax = 1_000;
/** Whoever asks how the service is has not much time. */
const answerMsMax = 3_000;
const unusable: ReadonlySet<string> = new Set(["STORAGE_UNAVAILABLE", "DEADLINE_EXCEEDED"]);

const states: Record<HealthWord, HealthState> = {
  ok: HealthState.OK,
  degraded: HealthState.DEGRADED,
  unavailable: HealthState.UNAVAILABLE,
  disabled: HealthState.DISABLED,
};

export function serviceStatusRpcs({ stats, tasks, self, clock }: Pick<RpcParts, "stats" | "tasks" | "self" | "clock">): StatusRpcs {
  /** Undefined when the database cannot be used, or does not answer in time: it may be frozen. */
  async function fromDatabase<T>(ask: () => Promise<T>): Promise<T | undefined> {
    const answered = new AbortController();
    const late = clock.sleep(answerMsMax, answered.signal).then(
      () => undefined,
      () => undefined,
    );
    try {
      return await Promise.race([ask(), late]);
    } catch (error) {
      if (error instanceof AppError && unusable.has(error.reason)) return undefined;
      throw error;
    } finally {
      answered.abort("the database has answered");
    }
  }

  /** With the time that the question took. */
  async function askReplicas(): Promise<{ readonly replicas: readonly LiveReplica[]; readonly latencyMs: number }> {
    const askedAt = clock.monotonic();
    const replicas = await stats.listReplicas();
    return { replicas, latencyMs: clock.monotonic() - askedAt };
  }

  return {
    async getServiceStatus(_request, context) {
      const { tenantId } = callerOf(context);
      const [database, queues, redis] = await Promise.all([fromDatabase(askReplicas), fromDatabase(() => tasks.queues(tenantId, "", queuesMax)), self.redis()]);
      const components = componentsOf({
        postgres: database && { latencyMs: database.latencyMs, version: self.postgresVersion },
        leaseHeld: self.leaseHeld(),
        journal: { backlogRows: self.journalBacklogRows(), commitMs: self.figures(commitWindowMs).journalCommit.p50 },
        redis,
        queues,
      });
      const replicas = database?.replicas.map((replica) => replicaOf(replica, self.replicaId));
      return create(GetServiceStatusResponseSchema, {
        state: states[overallHealth(components)],
        version: self.version,
        startTime: timestampOf(self.startedAt),
        uptime: durationOf(Math.max(0, clock.now() - self.startedAt)),
        replicas: replicas ?? [create(ReplicaStatusSchema, { id: self.replicaId, answering: true })],
        components: components.map(componentOf),
      });
    },
  };
}

function componentOf({ name, state, latencyMs, message }: ComponentHealth): ComponentStatus {
  return create(ComponentStatusSchema, { name, state: states[state], latency: fineDurationOf(latencyMs), message });
}

function replicaOf({ id, startedAt, expiresAt }: LiveReplica, own: string): ReplicaStatus {
  return create(ReplicaStatusSchema, { id, startTime: timestampOf(startedAt), leaseExpireTime: timestampOf(expiresAt), answering: id === own });
}

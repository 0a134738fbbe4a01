/** The front: every service on one port. */

import { readFile } from "node:fs/promises";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { AccessService } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { systemIds } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import { Signals } from "../engine/signals.ts";
import { TenantFeeds } from "../engine/tenant-feed.ts";
import { ensureFirstKey, grantableScopes } from "../first-key.ts";
import { accessRpcs } from "../rpc/access-service.ts";
import { createAuthenticate } from "../rpc/api-keys.ts";
import { controlRpcs } from "../rpc/control-rpcs.ts";
import { eventRpcs } from "../rpc/event-rpcs.ts";
import { executionRpcs } from "../rpc/execution-rpcs.ts";
import { fileRpcs } from "../rpc/file-service.ts";
import { healthRoutes, type Readiness } from "../rpc/health.ts";
import { createAuth } from "../rpc/interceptors/auth.ts";
import { createChanges } from "../rpc/interceptors/changes.ts";
import { buildPolicyTable } from "../rpc/interceptors/policy.ts";
import { createRpcSpans } from "../rpc/interceptors/telemetry.ts";
import { metricsRoute } from "../rpc/metrics-route.ts";
import { monitoringRpcs } from "../rpc/monitoring-service.ts";
import { OpenStreams } from "../rpc/open-streams.ts";
import { operateRpcs } from "../rpc/operate-rpcs.ts";
import type { RpcParts } from "../rpc/parts.ts";
import { reflectionRoutes, reflectionServices } from "../rpc/reflection.ts";
import { revisionRpcs } from "../rpc/revision-rpcs.ts";
import { sagaRpcs } from "../rpc/saga-service.ts";
import { secretRpcs } from "../rpc/secret-service.ts";
import { healthHttpRoutes } from "../rpc/server/health-routes.ts";
import { createJsonRoutes } from "../rpc/server/json-routes.ts";
import { startServer } from "../rpc/server/start-server.ts";
import { startRpcs } from "../rpc/start-rpcs.ts";
import { taskRpcs } from "../rpc/task-service.ts";
import { templateRpcs } from "../rpc/template-service.ts";
import { testRpcs } from "../rpc/test-rpcs.ts";
import { watchRpcs } from "../rpc/watch-rpcs.ts";
import { workflowRpcs } from "../rpc/workflow-rpcs.ts";
import { stepHandlers } from "../steps/registry.ts";
import { createAuditRepository } from "../store/audit-repository.ts";
import { createIdempotencyRepository } from "../store/idempotency-repository.ts";
import { createStatsRepository } from "../store/stats-repository.ts";
import { createTenantNewsRepository } from "../store/tenant-news-repository.ts";
import { createTenantRepository } from "../store/tenant-repository.ts";
import { createUnits } from "../store/unit-of-work.ts";
import { createUsageRepository } from "../store/usage-repository.ts";
import type { EngineRoom } from "./engine-room.ts";
import type { Ground } from "./ground.ts";
import { selfReport } from "./self-report.ts";
import type { Site } from "./site.ts";

/** Changes that hold a connection while their call goes on: a third of the pool, so that reads and the journal never wait for them. */
const unitsMax = 3;

export async function buildFront(site: Site, ground: Ground, room: EngineRoom) {
  const { config, log, version, clock, metrics, instruments, tracer, onStop } = site;
  const {
    embedded,
    database,
    own,
    files,
    secrets,
    keys,
    trustedKeys,
    openKeys,
    keyChanged,
    tenantChanged,
    workflows,
    templates,
    executions,
    egress,
    stepTypesOf,
  } = ground;
  const { news, progress, definitions, leases, tasks, taskBoard, signals, deliveries, engine, taskClock, startCache, starter, sweeps, sagas } = room;
  const services = [TemplateService, WorkflowService, SagaCoordinationService, TaskService, SecretService, FileService, AccessService, MonitoringService];
  const shown = [...services, Health, ...(config.reflection === "off" ? [] : reflectionServices)];
  const policies = buildPolicyTable(shown, config.reflection);
  const apiKey = await ensureFirstKey(config, embedded !== undefined, keys, own.pepper, policies);
  const workflowsChanged = (tenantId: string): void => {
    startCache.forget(tenantId);
    news.tellWorkflowsChanged(tenantId);
  };
  const audit = createAuditRepository(database);
  const parts: RpcParts = {
    workflowsChanged,
    workflows,
    templates,
    usage: createUsageRepository(database),
    stats: createStatsRepository(database),
    self: selfReport(site, ground, room),
    executions,
    secrets,
    audit,
    keys,
    keyPepper: own.pepper,
    grantableScopes: grantableScopes(policies),
    keyChanged: (keyId) => {
      keyChanged(keyId);
      news.tellKeyRevoked(keyId);
    },
    tenants: createTenantRepository(database),
    tenantChanged: (tenantId) => {
      tenantChanged(tenantId);
      news.tellTenantChanged(tenantId);
    },
    holdKey: openKeys.hold,
    files,
    expectFile: (sizeBytes) => room.stepServices.fileJobs.expect(sizeBytes),
    engine,
    starter,
    signals: new Signals({ repository: signals, deliveries, ids: systemIds }),
    sagas,
    definitions,
    progress,
    tenantFeeds: new TenantFeeds({ repository: createTenantNewsRepository(database), progress, news, clock, now: () => leases.now(), log }),
    sweeps,
    stepTypesOf,
    handlers: stepHandlers,
    pageTokenKey: own.pageTokenKey,
    taskTokenKey: own.taskTokenKey,
    tasks,
    taskBoard,
    taskClock,
    taskStreams: new OpenStreams({
      perTenantMax: config.taskStreamsMax,
      perReplicaMax: limits.taskStreamsMax,
      hint: "let one stream take more tasks (max_in_flight)",
    }),
    auditStreams: new OpenStreams({
      perTenantMax: limits.auditStreamsPerTenantMax,
      perReplicaMax: limits.auditStreamsMax,
      hint: "end one that nobody reads",
    }),
    clock,
    log,
  };
  const readiness: Readiness = {
    components: () => [
      { name: "lease", ok: leases.held, ...(leases.held ? {} : { message: "the replica's lease cannot be renewed" }) },
      { name: "postgres", ok: leases.held },
    ],
    subscribe: (onChange) => leases.onChange(onChange),
  };
  const descriptorSet = await readFile(new URL("../../gen/descriptors.binpb", import.meta.url));
  const server = await startServer({
    host: config.host,
    port: config.port,
    policies,
    auth: createAuth({ policies, authenticate: createAuthenticate(keys, own.pepper, clock, trustedKeys), clock }),
    holdKey: openKeys.hold,
    interceptors: [
      ...(tracer ? [createRpcSpans(tracer)] : []),
      createChanges({
        keys: createIdempotencyRepository(database),
        units: createUnits(database.pool, unitsMax),
        audit,
        fingerprintKey: own.fingerprintKey,
        answerKey: own.answerKey,
        clock,
        log,
      }),
    ],
    routes: (router) => {
      router.service(TemplateService, templateRpcs(parts));
      router.service(WorkflowService, {
        ...workflowRpcs(parts),
        ...revisionRpcs(parts),
        ...testRpcs(parts),
        ...startRpcs(parts),
        ...executionRpcs(parts),
        ...controlRpcs(parts),
        ...eventRpcs(parts),
        ...operateRpcs(parts),
        ...watchRpcs(parts),
      });
      router.service(SagaCoordinationService, sagaRpcs(parts));
      router.service(SecretService, secretRpcs(parts));
      router.service(TaskService, taskRpcs(parts));
      router.service(FileService, fileRpcs(parts));
      router.service(AccessService, accessRpcs(parts));
      router.service(MonitoringService, monitoringRpcs(parts));
      healthRoutes(readiness, services)(router);
      if (config.reflection !== "off") reflectionRoutes({ services: shown, descriptorSet })(router);
    },
    http: [...healthHttpRoutes({ readiness, isStarted: () => true, version: { version, node: process.version } }), metricsRoute(metrics)],
    connectFallback: createJsonRoutes(services, log),
    onCall: ({ method, code, durationMs }) => instruments.rpcSeconds.of(method, code).record(durationMs / 1000),
    log,
    clock,
  });
  egress.forbidPort(server.port);
  onStop(async () => {
    const drained = new AbortController();
    await Promise.race([server.drain(), clock.sleep(config.drainMs, drained.signal).catch(() => undefined)]);
    drained.abort("drained");
    await server.stop();
  });
  return { port: server.port, apiKey };
}

/**
 * The composition root: builds the house from the ground up and hands each part what it needs. `main.ts` starts it from the
 * environment, tests with their own parts.
 */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Tracer } from "@opentelemetry/api";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { type Clock, systemClock } from "./base/clock.ts";
import { systemIds } from "./base/ids.ts";
import { limits } from "./base/limits.ts";
import type { Log } from "./base/log.ts";
import { createMasterKeys } from "./base/master-keys.ts";
import { Metrics } from "./base/metrics.ts";
import type { Config } from "./config.ts";
import { blockTypes } from "./domain/block-types.ts";
import type { StepTypes } from "./domain/step-type.ts";
import { Children } from "./engine/children.ts";
import { CommandDesk } from "./engine/command-desk.ts";
import { ConcurrencyGate } from "./engine/concurrency-gate.ts";
import { Definitions } from "./engine/definitions.ts";
import { Deliveries } from "./engine/deliveries.ts";
import { Destinations } from "./engine/destinations.ts";
import { Engine } from "./engine/engine.ts";
import { Leases } from "./engine/leases.ts";
import { Periodic } from "./engine/periodic.ts";
import { Progress } from "./engine/progress.ts";
import { ReplicaNews } from "./engine/replica-news.ts";
import { Retention } from "./engine/retention.ts";
import { sendNotices } from "./engine/saga-notices.ts";
import { SecretUpkeep } from "./engine/secret-upkeep.ts";
import { Signals } from "./engine/signals.ts";
import { StartCache } from "./engine/start-cache.ts";
import { Starter } from "./engine/start-execution.ts";
import { SagaStarter } from "./engine/start-saga.ts";
import { createStepFiles } from "./engine/step-files.ts";
import { TaskBoard } from "./engine/task-board.ts";
import { TaskClock } from "./engine/task-clock.ts";
import { TenantFeeds } from "./engine/tenant-feed.ts";
import { UsageRollup } from "./engine/usage-rollup.ts";
import { WorkflowSweeps } from "./engine/workflow-sweeps.ts";
import { deriveSecrets, ensureFirstKey, readMasterKeys } from "./first-key.ts";
import { readBuiltIns } from "./prebuilt-library.ts";
import { createAuthenticate } from "./rpc/api-keys.ts";
import { controlRpcs } from "./rpc/control-rpcs.ts";
import { eventRpcs } from "./rpc/event-rpcs.ts";
import { executionRpcs } from "./rpc/execution-rpcs.ts";
import { fileRpcs } from "./rpc/file-service.ts";
import { healthRoutes, type Readiness } from "./rpc/health.ts";
import { createAuth } from "./rpc/interceptors/auth.ts";
import { buildPolicyTable } from "./rpc/interceptors/policy.ts";
import { createRequestIds } from "./rpc/interceptors/request-id.ts";
import { createRpcSpans } from "./rpc/interceptors/telemetry.ts";
import { metricsRoute } from "./rpc/metrics-route.ts";
import { operateRpcs } from "./rpc/operate-rpcs.ts";
import type { RpcParts } from "./rpc/parts.ts";
import { reflectionRoutes, reflectionServices } from "./rpc/reflection.ts";
import { revisionRpcs } from "./rpc/revision-rpcs.ts";
import { sagaRpcs } from "./rpc/saga-service.ts";
import { secretRpcs } from "./rpc/secret-service.ts";
import { healthHttpRoutes } from "./rpc/server/health-routes.ts";
import { createJsonRoutes } from "./rpc/server/json-routes.ts";
import { startServer } from "./rpc/server/start-server.ts";
import { startRpcs } from "./rpc/start-rpcs.ts";
import { taskRpcs } from "./rpc/task-service.ts";
import { templateRpcs } from "./rpc/template-service.ts";
import { testRpcs } from "./rpc/test-rpcs.ts";
import { watchRpcs } from "./rpc/watch-rpcs.ts";
import { workflowRpcs } from "./rpc/workflow-rpcs.ts";
import { openSharedRedis, redisTargets } from "./shared-redis.ts";
import { OAuthTokens } from "./steps/auth/oauth-tokens.ts";
import { createHttpEgress } from "./steps/egress/http-egress.ts";
import { createSavedStepTypes } from "./steps/egress/saved-step-types.ts";
import { createGrpcEgress } from "./steps/grpc-client/create-grpc-egress.ts";
import { createNotificationQuota } from "./steps/notify/notification-quota.ts";
import { createSmtpMailer, noMail } from "./steps/notify/smtp-mailer.ts";
import { stepHandlers } from "./steps/registry.ts";
import { selfDriven } from "./steps/self-driven.ts";
import { createSiblings } from "./steps/siblings.ts";
import { BatchedJournal } from "./store/batched-journal.ts";
import { storeBuiltIns } from "./store/built-in-templates.ts";
import { createChildFinder } from "./store/child-finder.ts";
import { addressesOf, clientConfig, openDatabase } from "./store/database.ts";
import { checkDurability } from "./store/durability.ts";
import { joinEmbeddedPostgres, startEmbeddedPostgres } from "./store/embedded/embedded-postgres.ts";
import { createEngineStore } from "./store/engine-store.ts";
import { createExecutionRepository } from "./store/execution-repository.ts";
import { createFileRepository } from "./store/file-repository.ts";
import { createIdempotencyRepository } from "./store/idempotency-repository.ts";
import { createInbox } from "./store/inbox.ts";
import { createKeyRepository } from "./store/key-repository.ts";
import { migrateDatabase } from "./store/migrate.ts";
import { createNewsRepository } from "./store/news-repository.ts";
import { NotifyLink } from "./store/notify.ts";
import { createS3Storage } from "./store/object-storage.ts";
import { ReplicaLease } from "./store/replica-lease.ts";
import { createRetentionStore } from "./store/retention-store.ts";
import { createSagaNoticeStore } from "./store/saga-notice-store.ts";
import { createSecretRepository } from "./store/secret-repository.ts";
import { createSignalRepository } from "./store/signal-repository.ts";
import { findEgressAllow } from "./store/sql/find-egress-allow.ts";
import { findStart } from "./store/sql/find-start.ts";
import { readBacklog } from "./store/sql/read-backlog.ts";
import { createTaskStore } from "./store/task-store.ts";
import { createTemplateRepository } from "./store/template-repository.ts";
import { createTenantNewsRepository } from "./store/tenant-news-repository.ts";
import { createUsageRepository } from "./store/usage-repository.ts";
import { createUsageRollupStore } from "./store/usage-rollup-store.ts";
import { createWorkflowRepository } from "./store/workflow-repository.ts";
import { createSlotStore } from "./store/workflow-slots.ts";
import { createSweepStore } from "./store/workflow-sweeps.ts";
import { createTenantKeys, readRootKey, rewrapKeys } from "./store/wrapped-keys.ts";
import { createEngineTelemetry } from "./telemetry/engine-telemetry.ts";
import { createDestinationObserver, createInstruments, createJournalObserver, createRetentionObserver, registerGauges } from "./telemetry/instruments.ts";

export interface App {
  readonly port: number;
  /** Of tenant `default`; undefined when others manage the keys. */
  readonly apiKey: string | undefined;
  readonly database: { readonly version: string; readonly embedded: boolean; readonly adopted: boolean; readonly url: string };
  /** Names of the migrations that this start applied. */
  readonly migrated: readonly string[];
  readonly templates: number;
  /** Ends open calls, hands executions over, closes everything. May be called twice. */
  stop(): Promise<void>;
}

export interface AppOptions {
  readonly config: Config;
  readonly log: Log;
  readonly version: string;
  readonly clock?: Clock;
  /** Where everything is counted; given when somebody besides /metrics reads it. */
  readonly metrics?: Metrics;
  /** Records spans; absent: none, and the trace context is handed on all the same. */
  readonly tracer?: Tracer | undefined;
}

/** Connections of one replica besides the journal's two and the lease's one. */
const poolMax = 10;

export async function startApp({ config, log, version, clock = systemClock, metrics = new Metrics(), tracer }: AppOptions): Promise<App> {
  const closers: (() => Promise<void>)[] = [];
  const stop = onceAsync(async () => {
    for (const close of closers.reverse()) await close();
  });
  try {
    const app = await build({ config, log, version, clock, metrics, tracer }, (close) => closers.push(close));
    return { ...app, stop };
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

type Parts = Required<AppOptions>;

async function build({ config, log, version, clock, metrics, tracer }: Parts, onStop: (close: () => Promise<void>) => void): Promise<Omit<App, "stop">> {
  const instruments = createInstruments(metrics);
  // Ground: the database.
  const joined = config.databaseUrl === undefined ? undefined : await joinEmbeddedPostgres({ databaseUrl: config.databaseUrl, log });
  const embedded =
    config.databaseUrl === undefined ? await startEmbeddedPostgres({ dataDir: `${config.dataDir}/pg`, durable: true, exclusive: true, log }) : joined;
  if (embedded) onStop(() => embedded.stop());
  const url = config.databaseUrl ?? (embedded?.databaseUrl as string);
  const migrated = await migrateDatabase(url, { log });
  const database = await openDatabase({ url, poolMax, log, applicationName: "pawf" });
  onStop(() => database.close());
  const risks = await checkDurability(database.pool);
  if (risks.length > 0 && !config.allowUnsafeDatabase) {
    throw new Error(
      `This PostgreSQL would lose acknowledged work in a crash: ${risks.join("; ")}. Change it, or set PAWF_ALLOW_UNSAFE_DATABASE=1 if that is wanted.`,
    );
  }

  // First floors: what is stored and what steps can do.
  const masterTexts = await readMasterKeys(config, embedded !== undefined);
  const masterKeys = await createMasterKeys(masterTexts);
  const own = deriveSecrets(await readRootKey(database.pool, masterKeys, masterTexts[0]));
  const monotonic = (): number => clock.monotonic();
  const files = createFileRepository({ pool: database.pool, ids: systemIds, objects: config.s3 && createS3Storage(config.s3) });
  const secrets = createSecretRepository({ pool: database.pool, keys: createTenantKeys(database.pool, masterKeys), monotonic, log });
  const keys = createKeyRepository(database);
  const redis = await openSharedRedis({
    url: config.redisUrl,
    pool: database.pool,
    cacheKey: own.cacheKey,
    instruments,
    clock,
    log,
    onPayload: (payload) => news.receive(payload),
  });
  onStop(() => redis.stop());
  const workflows = createWorkflowRepository(database, systemIds, redis.versions);
  const templates = createTemplateRepository(database, systemIds, redis.versions);
  const executions = createExecutionRepository(database);
  const builtIns = await readBuiltIns();
  await storeBuiltIns(database, builtIns);
  const egress = createHttpEgress({
    allow: config.egressAllow,
    forbiddenPorts: config.port === 0 ? [] : [config.port],
    forbidden: [...addressesOf(url), ...redisTargets(config.redisUrl)],
    tenantAllow: (tenantId) => findEgressAllow(database.pool, tenantId),
    log,
    clock,
  });
  onStop(() => egress.close());
  const grpcEgress = createGrpcEgress({ rulesOf: egress.rulesOf, log, clock });
  onStop(async () => grpcEgress.close());
  const mailer = config.smtp && createSmtpMailer(config.smtp);
  const mail = mailer ?? noMail;
  onStop(async () => mailer?.close());
  const stepTypes: StepTypes = new Map([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]);
  const stepTypesOf = createSavedStepTypes(stepTypes, egress.rulesOf);

  // The engine.
  const replicaId = randomUUID();
  const link = new NotifyLink({
    connection: clientConfig(url, "pawf-notify"),
    clock,
    log,
    onPayload: (payload) => news.receive(payload),
    onUp: () => news.connected(),
  });
  const newsLink = redis.newsLink(link, () => leases.peers);
  const news = new ReplicaNews({ replicaId, link: newsLink, clock, log, hasPeers: () => leases.peers > 0 });
  const progress = new Progress({
    clock,
    log,
    listEvents: (...page) => executions.listEvents(...page),
    readNews: createNewsRepository(database).readNews,
    news,
    random: Math.random,
  });
  const definitions = new Definitions({
    stepTypes,
    observer: { read: (result) => instruments.cacheReads.of("compiled", result).add() },
    load: async (tenantId, workflowId, revision) => {
      const found = await workflows.getRevision(engineCaller(tenantId), workflowId, revision);
      const head = found && (await workflows.getWorkflow(engineCaller(tenantId), workflowId, { showDeleted: true }));
      return (
        found && {
          workflowId,
          workflowName: head?.name ?? "",
          revision: found.revision,
          definition: found.definition,
          parameters: found.lineage?.parameters ?? {},
          secretBindings: found.secretBindings,
        }
      );
    },
  });
  const leases = new Leases({
    lease: new ReplicaLease({ replicaId, connection: clientConfig(url, "pawf-lease"), leaseMs: limits.leaseMs }),
    clock,
    log,
    address: `${config.host}:${config.port}`,
    onLost: () => engine.forgetAll(),
    onFreed: (freed) => {
      log.info({ freed }, "executions of a dead replica were freed");
      instruments.executionsTakenOver.add(freed);
      news.tellDue();
      engine.wake();
      deliveries.sweepSoon();
    },
  });
  const journal = new BatchedJournal({
    connection: clientConfig(url, "pawf-journal"),
    fence: () => leases.fence,
    clock,
    log,
    onFenced: () => leases.lost(),
    observer: createJournalObserver(instruments),
  });
  const desk = new CommandDesk({
    replicaId,
    inbox: createInbox(database),
    news,
    clock,
    log,
    deliver: (tenantId, executionId, command) => engine.deliver(tenantId, executionId, command),
  });
  const tasks = createTaskStore(database);
  const taskBoard = new TaskBoard({ store: tasks, news, onTaken: (count) => instruments.tasksTaken.add(count) });
  const destinations = new Destinations({ now: () => leases.now(), random: Math.random, observer: createDestinationObserver(instruments) });
  const signals = createSignalRepository(database, replicaId);
  const deliveries: Deliveries = new Deliveries({
    signals,
    control: (caller, executionId, command) => engine.control(caller, executionId, command),
    clock,
    log,
  });
  const handlers = new Map([...stepHandlers, [selfDriven.type, selfDriven]]);
  const stepServices = {
    siblings: createSiblings(config.siblings, own.taskTokenKey),
    http: egress,
    grpc: grpcEgress,
    tokens: new OAuthTokens(egress, clock),
    files: createStepFiles(files),
    mail,
    quota: createNotificationQuota(clock),
    clock,
    log,
  };
  const children: Children = new Children({
    find: createChildFinder(database.pool),
    definition: (...revision) => definitions.get(...revision),
    begin: (...execution) => engine.begin(...execution),
    control: (...command) => engine.control(...command),
    now: () => leases.now(),
  });
  const engine: Engine = new Engine({
    destinations,
    handlers,
    services: stepServices,
    secrets,
    journal,
    publish: (executionId, events, tenantId) => {
      progress.publish(tenantId, executionId, events);
      if (events.at(-1)?.type === "execution_ended") gate.ended();
    },
    now: () => leases.now(),
    monotonic: () => clock.monotonic(),
    random: Math.random,
    telemetry: createEngineTelemetry({ instruments, monotonic: () => clock.monotonic(), tracer }),
    signals,
    children,
    deliver: (tenantId, senderId, commands) => deliveries.tellCommands(tenantId, senderId, commands),
    store: createEngineStore(database.pool, () => leases.fence),
    definitions,
    leases,
    desk,
    tasks: taskBoard,
  });
  const taskClock = new TaskClock({
    store: tasks,
    board: taskBoard,
    report: (tenantId, executionId, command) => engine.control(engineCaller(tenantId), executionId, command),
    clock,
    log,
    random: Math.random,
    onExpired: (name) => instruments.tasksExpired.of(name).add(1),
  });
  news.listen({
    onProgress: (tenantId, executionId, first, last) => progress.heard(tenantId, executionId, first, last),
    onCommand: () => void desk.look(),
    onAnswer: (commandId) => desk.answered(commandId),
    onDue: () => engine.wake(),
    onTasks: (tenantId, queue, count) => taskBoard.heardOf(tenantId, queue, count),
    onTaskEnd: (taskId) => taskBoard.ended(taskId),
    onWorkflowsChanged: (tenantId) => startCache.forget(tenantId),
  });
  const { retentionDays } = config;
  const retention = new Retention({
    store: createRetentionStore(clientConfig(url, "pawf-retention")),
    clock,
    log,
    now: () => leases.now(),
    random: Math.random,
    retentionMsMax: retentionDays === undefined ? undefined : retentionDays * 86_400_000,
    observer: createRetentionObserver(instruments),
  });
  const usageRollup = new UsageRollup({ store: createUsageRollupStore(clientConfig(url, "pawf-usage")), clock, log, random: Math.random });
  registerGauges(
    metrics,
    {
      executionsDriven: () => engine.driven,
      watchersActive: () => progress.watched,
      leaseHeld: () => leases.held,
      journalBacklogRows: () => journal.backlogRows,
      breakers: () => destinations.breakers,
      destinationsWaiting: () => destinations.waiting,
      backlog: () => readBacklog(database.pool),
      tasks: () => tasks.totals(),
    },
    { version, node: process.version },
  );
  await leases.start();
  log.info({ replicaId }, "this replica may drive executions");
  onStop(() => leases.stop());
  link.start();
  onStop(() => link.stop());
  news.start();
  onStop(() => news.stop());
  // What this replica lets go of is due at once: peers need not wait for their next look.
  onStop(async () => news.tellDue());
  onStop(() => journal.stop());
  onStop(() => engine.stop(config.drainMs / 2));
  onStop(() => deliveries.stop());
  const gate = new ConcurrencyGate({ store: createSlotStore(database), control: (...command) => engine.control(...command), clock, log });
  const startCache = new StartCache((caller, reference) => workflows.getWorkflow(caller, reference), clock);
  const starter = new Starter({
    engine,
    definitions,
    ids: systemIds,
    now: () => leases.now(),
    findWorkflow: startCache.find,
    gate,
    readWorkflow: (caller, reference) => workflows.getWorkflow(caller, reference),
    findStart: (tenantId, requestId, executionKey) => findStart(database.pool, tenantId, requestId, executionKey),
  });

  const sweeps = new WorkflowSweeps({ store: createSweepStore(database), control: (...command) => engine.control(...command), clock, log });

  const sagas = new SagaStarter({
    engine,
    stepTypesOf,
    ids: systemIds,
    now: () => leases.now(),
    findStart: (tenantId, requestId, executionKey) => findStart(database.pool, tenantId, requestId, executionKey),
  });

  // The front: rpcs on one port.
  const services = [TemplateService, WorkflowService, SagaCoordinationService, TaskService, SecretService, FileService];
  const shown = [...services, Health, ...(config.reflection === "off" ? [] : reflectionServices)];
  const policies = buildPolicyTable(shown, config.reflection);
  const apiKey = await ensureFirstKey(config, embedded !== undefined, keys, own.pepper, policies);
  const workflowsChanged = (tenantId: string): void => {
    startCache.forget(tenantId);
    news.tellWorkflowsChanged(tenantId);
  };
  const parts: RpcParts = {
    workflowsChanged,
    workflows,
    templates,
    usage: createUsageRepository(database),
    executions,
    secrets,
    files,
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
  const descriptorSet = await readFile(new URL("../gen/descriptors.binpb", import.meta.url));
  const server = await startServer({
    host: config.host,
    port: config.port,
    policies,
    auth: createAuth({ policies, authenticate: createAuthenticate(keys, own.pepper, clock), clock }),
    interceptors: [
      ...(tracer ? [createRpcSpans(tracer)] : []),
      createRequestIds({ keys: createIdempotencyRepository(database), fingerprintKey: own.fingerprintKey, clock, log }),
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
    await Promise.race([server.drain(), clock.sleep(config.drainMs)]);
    await server.stop();
  });
  engine.start();
  gate.start();
  onStop(() => gate.stop());
  sweeps.start();
  onStop(() => sweeps.stop());
  deliveries.start();
  taskClock.start();
  onStop(() => taskClock.stop());
  retention.start();
  onStop(() => retention.stop());
  usageRollup.start();
  onStop(() => usageRollup.stop());
  const upkeep = new SecretUpkeep({ purge: secrets.purge, rewrap: () => rewrapKeys(database.pool, masterKeys), clock, log });
  upkeep.start();
  onStop(() => upkeep.stop());
  const notices = { store: createSagaNoticeStore(database.pool), ledgers: createEngineStore(database.pool, () => leases.fence), callerOf: engineCaller };
  const sagaNotices = new Periodic({
    name: "the notices of sagas",
    work: () => sendNotices({ ...notices, engine, handlers, services: stepServices, secrets, now: () => leases.now() }),
    intervalMs: 1_000,
    clock,
    log,
  });
  sagaNotices.start();
  onStop(() => sagaNotices.stop());
  const filePurge = new Periodic({ name: "the purge of files", work: files.purge, intervalMs: 60_000, clock, log });
  filePurge.start();
  onStop(() => filePurge.stop());
  return {
    port: server.port,
    apiKey,
    database: { version: versionText(database.serverVersion), embedded: embedded !== undefined, adopted: embedded?.adopted ?? false, url },
    migrated,
    templates: builtIns.length,
  };
}

/** The engine acts for a tenant, not for one of its callers. */
function engineCaller(tenantId: string): { tenantId: string; actor: string; scopes: ReadonlySet<string>; correlationId: string; requestId: string } {
  return { tenantId, actor: "engine", scopes: new Set(), correlationId: "", requestId: "" };
}

function versionText(serverVersion: number): string {
  return `${Math.floor(serverVersion / 10_000)}.${serverVersion % 10_000}`;
}

function onceAsync(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => (running ??= run());
}

/** The engine of this replica with everything it speaks to: leases, journal, news, desks, clocks and starters. */
import { randomUUID } from "node:crypto";
import { systemIds } from "../base/ids.ts";
import { type LeavingWork, LeftOut } from "../base/left-out.ts";
import { Children } from "../engine/children.ts";
import { CommandDesk } from "../engine/command-desk.ts";
import { ConcurrencyGate } from "../engine/concurrency-gate.ts";
import { Definitions } from "../engine/definitions.ts";
import { Deliveries } from "../engine/deliveries.ts";
import { Destinations } from "../engine/destinations.ts";
import { Engine } from "../engine/engine.ts";
import { FileCourier } from "../engine/file-courier.ts";
import { Leases } from "../engine/leases.ts";
import { Progress } from "../engine/progress.ts";
import { Recoveries } from "../engine/recoveries.ts";
import { ReplicaNews } from "../engine/replica-news.ts";
import { Retention } from "../engine/retention.ts";
import { StartCache } from "../engine/start-cache.ts";
import { Starter } from "../engine/start-execution.ts";
import { SagaStarter } from "../engine/start-saga.ts";
import { createStepFiles } from "../engine/step-files.ts";
import { TaskBoard } from "../engine/task-board.ts";
import { TaskClock } from "../engine/task-clock.ts";
import { UsageRollup } from "../engine/usage-rollup.ts";
import { WorkflowSweeps } from "../engine/workflow-sweeps.ts";
import { OAuthTokens } from "../steps/auth/oauth-tokens.ts";
import { createNotificationQuota } from "../steps/notify/notification-quota.ts";
import { stepHandlers } from "../steps/registry.ts";
import { selfDriven } from "../steps/self-driven.ts";
import { createSiblings } from "../steps/siblings.ts";
import { BatchedJournal } from "../store/batched-journal.ts";
import { createChildFinder } from "../store/child-finder.ts";
import { clientConfig } from "../store/connection-config.ts";
import { createDestinationWaitStore } from "../store/destination-wait-store.ts";
import { createEngineStore } from "../store/engine-store.ts";
import { createInbox } from "../store/inbox.ts";
import { createNewsRepository } from "../store/news-repository.ts";
import { createNotificationCounts } from "../store/notification-counts.ts";
import { NotifyLink } from "../store/notify.ts";
import { ReplicaLease } from "../store/replica-lease.ts";
import { createRetentionStore } from "../store/retention-store.ts";
import { createSignalRepository } from "../store/signal-repository.ts";
import { findStart } from "../store/sql/find-start.ts";
import { readBacklog } from "../store/sql/read-backlog.ts";
import { createTaskStore } from "../store/task-store.ts";
import { createUsageRollupStore } from "../store/usage-rollup-store.ts";
import { createSlotStore } from "../store/workflow-slots.ts";
import { createSweepStore } from "../store/workflow-sweeps.ts";
import { createEngineTelemetry } from "../telemetry/engine-telemetry.ts";
import { createDestinationObserver, createJournalObserver, createRetentionObserver, registerGauges } from "../telemetry/instruments.ts";
import type { Ground } from "./ground.ts";
import { engineCaller, type Site } from "./site.ts";

export type EngineRoom = Awaited<ReturnType<typeof buildEngine>>;

export async function buildEngine({ config, log, version, clock, metrics, instruments, tracer, onStop, correlations }: Site, ground: Ground) {
  const { url, database, own, files, secrets, redis, workflows, executions, egress, grpcEgress, mail, stepTypes, stepTypesOf } = ground;
  const replicaId = randomUUID();
  const leftOut = (work: LeavingWork): LeftOut => new LeftOut({ work, log, onLeftOut: (of) => instruments.rowsLeftOut.of(of).add() });
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
    lease: new ReplicaLease({ replicaId, connection: clientConfig(url, "pawf-lease"), leaseMs: config.leaseMs }),
    leaseMs: config.leaseMs,
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
  const recoveries: Recoveries = new Recoveries({
    store: createDestinationWaitStore(database.pool),
    control: (...command) => engine.control(...command),
    callerOf: engineCaller,
    tellDriven: (...recovered) => engine.recovered(...recovered),
    tellPeers: (...answer) => news.tellDestination(...answer),
    isWell: (...known) => destinations.isWell(...known),
    clock,
    log,
    onWoken: (count) => instruments.executionsWoken.add(count),
  });
  const destinations: Destinations = new Destinations({
    now: () => leases.now(),
    random: Math.random,
    observer: createDestinationObserver(instruments),
    onRecovered: (...recovered) => recoveries.recovered(...recovered),
    onFailing: (...failing) => recoveries.failing(...failing),
  });
  const signals = createSignalRepository(database, replicaId);
  const deliveries: Deliveries = new Deliveries({
    signals,
    control: (caller, executionId, command) => engine.control(caller, executionId, command),
    clock,
    log,
    leftOut: leftOut("deliveries"),
  });
  const handlers = new Map([...stepHandlers, [selfDriven.type, selfDriven]]);
  const fileJobs = new FileCourier({ clock, log, database: url, s3: config.s3 });
  const stepServices = {
    siblings: createSiblings(config.siblings, own.taskTokenKey),
    http: egress,
    grpc: grpcEgress,
    tokens: new OAuthTokens(egress, clock),
    files: createStepFiles(files),
    fileJobs,
    mail,
    quota: createNotificationQuota(createNotificationCounts(database.pool), log),
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
    telemetry: createEngineTelemetry({ instruments, monotonic: () => clock.monotonic(), tracer, correlations }),
    signals,
    children,
    deliver: (tenantId, senderId, commands) => deliveries.tellCommands(tenantId, senderId, commands),
    store: createEngineStore(database.pool, () => leases.fence),
    definitions,
    leases,
    desk,
    tasks: taskBoard,
    onParked: ({ tenantId, executionId }, awaited) => recoveries.parked(tenantId, executionId, awaited),
  });
  const taskClock = new TaskClock({
    store: tasks,
    board: taskBoard,
    report: (tenantId, executionId, command) => engine.control(engineCaller(tenantId), executionId, command),
    clock,
    log,
    leftOut: leftOut("tasks"),
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
    onKeyRevoked: ground.keyChanged,
    onTenantChanged: ground.tenantChanged,
    onDestination: (tenantId, destination, answer) => {
      destinations.heard(tenantId, destination, answer);
      if (answer === "good") recoveries.heardRecovered(tenantId, destination);
    },
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
    leftOut: leftOut("retention"),
  });
  const usageStore = createUsageRollupStore(clientConfig(url, "pawf-usage"));
  const usageRollup = new UsageRollup({ store: usageStore, clock, log, random: Math.random, leftOut: leftOut("usage") });
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
  onStop(() => fileJobs[Symbol.asyncDispose]());
  onStop(() => engine.stop(config.drainMs / 2));
  onStop(() => recoveries.stop());
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

  const sweeps = new WorkflowSweeps({
    store: createSweepStore(database),
    control: (...command) => engine.control(...command),
    clock,
    log,
    leftOut: leftOut("workflow_sweep"),
  });

  const sagas = new SagaStarter({
    engine,
    stepTypesOf,
    ids: systemIds,
    now: () => leases.now(),
    findStart: (tenantId, requestId, executionKey) => findStart(database.pool, tenantId, requestId, executionKey),
  });
  return {
    news,
    progress,
    definitions,
    leases,
    journal,
    tasks,
    taskBoard,
    signals,
    deliveries,
    handlers,
    stepServices,
    engine,
    taskClock,
    retention,
    usageRollup,
    gate,
    startCache,
    starter,
    sweeps,
    sagas,
  };
}

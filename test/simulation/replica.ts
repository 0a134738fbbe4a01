/** One simulated replica: the real engine, leases, command desk, feeds and starter over what stands in for PostgreSQL. */
import type { Caller } from "../../src/base/caller.ts";
import type { IdSource } from "../../src/base/ids.ts";
import { formatId, uuidV7 } from "../../src/base/ids.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { Log } from "../../src/base/log.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { Children } from "../../src/engine/children.ts";
import { CommandDesk } from "../../src/engine/command-desk.ts";
import { Definitions } from "../../src/engine/definitions.ts";
import { Deliveries } from "../../src/engine/deliveries.ts";
import { Engine } from "../../src/engine/engine.ts";
import { Leases } from "../../src/engine/leases.ts";
import { Progress } from "../../src/engine/progress.ts";
import { ReplicaNews } from "../../src/engine/replica-news.ts";
import { Signals } from "../../src/engine/signals.ts";
import { Starter } from "../../src/engine/start-execution.ts";
import { SagaStarter } from "../../src/engine/start-saga.ts";
import { TaskBoard } from "../../src/engine/task-board.ts";
import { TaskClock } from "../../src/engine/task-clock.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import { selfDriven } from "../../src/steps/self-driven.ts";
import type { StepHandler } from "../../src/steps/step-handler.ts";
import type { LedgerPage } from "../../src/store/execution-repository.ts";
import type { Journal } from "../../src/store/journal.ts";
import { offlineServices } from "../steps/offline-services.ts";
import { leaseMs, type VirtualDatabase } from "./database.ts";
import type { Faults } from "./faults.ts";
import { Link } from "./link.ts";
import type { Random } from "./random.ts";
import { forgetfulStore, hastyJournal, type Sabotage } from "./sabotage.ts";
import { epochMs, type Scheduler, type VirtualProcess } from "./scheduler.ts";
import { VirtualJournal } from "./virtual-journal.ts";
import { createVirtualChildFinder, createVirtualSignals, createVirtualTasks, type VirtualTasks } from "./virtual-outside.ts";
import { createVirtualInbox, createVirtualStore, VirtualLease } from "./virtual-store.ts";

export const caller: Caller = { tenantId: "acme", actor: "user", scopes: new Set(), correlationId: "corr", requestId: "" };

export interface ReplicaGround {
  readonly scheduler: Scheduler;
  readonly database: VirtualDatabase;
  readonly faults: Faults;
  readonly random: Random;
  readonly sabotage: Sabotage | undefined;
  readonly definitions: ReadonlyMap<string, JsonObject>;
  /** Events, children, tasks and sagas are there. */
  readonly hasOutside: boolean;
  /** `field`: of the configuration, what is sent. */
  readonly callHandler: (process: VirtualProcess, type: string, field: string) => StepHandler;
  /** To every replica, the sender included, unless it gets lost. */
  readonly broadcast: (payloads: readonly string[]) => void;
  /** Events that the replica holds for committed. */
  readonly onCommitted: (process: VirtualProcess, executionId: string, events: readonly ExecutionEvent[]) => void;
  readonly onComplaint: (what: string) => void;
}

export interface Replica {
  readonly process: VirtualProcess;
  readonly engine: Engine;
  readonly starter: Starter;
  readonly progress: Progress;
  readonly outside: Outside;
  hear(payload: string): void;
  start(): Promise<void>;
  /** As on SIGTERM. */
  stop(): Promise<void>;
}

/** What callers from outside use. */
export interface Outside {
  readonly signals: Signals;
  readonly sagas: SagaStarter;
  readonly taskBoard: TaskBoard;
  readonly tasks: VirtualTasks;
}

export function createReplica(process: VirtualProcess, replicaId: string, ground: ReplicaGround): Replica {
  const { scheduler, database, faults, sabotage } = ground;
  const random = ground.random.fork();
  const link = new Link(process, scheduler, faults, random.fork());
  const clock = scheduler.clockOf(process, random.int(-60_000, 60_000));
  const log = complainingLog(ground.onComplaint);
  const handlers: ReadonlyMap<string, StepHandler> = new Map([
    ...stepHandlers,
    ["call", ground.callHandler(process, "call", "body")],
    // The endpoints of sagas are the same participants.
    ["http_request", ground.callHandler(process, "http_request", "json")],
    ["value", value],
    [selfDriven.type, selfDriven],
  ]);
  const ids = idsFrom(random.fork(), () => epochMs + scheduler.now);
  const leases = new Leases({
    lease: new VirtualLease(replicaId, database, link, scheduler, faults),
    leaseMs,
    clock,
    log,
    address: process.name,
    onLost: () => engine.forgetAll(),
    onFreed: () => {
      news.tellDue();
      engine.wake();
      if (ground.hasOutside) deliveries.sweepSoon();
    },
  });
  const fence = (): Leases["fence"] => leases.fence;
  const written = new VirtualJournal({ database, link, scheduler, random: random.fork(), fence, onFenced: () => leases.lost(), sabotage });
  const journal: Journal = sabotage === "ack_before_commit" ? hastyJournal(written) : written;
  const store = createVirtualStore(database, link, fence);
  const news = new ReplicaNews({
    replicaId,
    link: {
      up: true,
      send: async (payloads) => {
        ground.broadcast(payloads);
        return true;
      },
    },
    clock,
    log,
    hasPeers: () => leases.peers > 0,
  });
  const listEvents = (_: Caller, executionId: string, after: number, rowsMax: number): Promise<LedgerPage> =>
    link.call("list events", () => {
      const ledger = database.ledgerOf(executionId);
      return { events: ledger.slice(after, after + rowsMax), isLast: ledger.length < after + rowsMax };
    });
  const progress = new Progress({
    clock,
    log,
    listEvents,
    readNews: (positions) =>
      link.call("read news", () => positions.map(({ executionId, afterSequence }) => database.ledgerOf(executionId).slice(afterSequence))),
    news,
    random: () => random.next(),
  });
  const stepTypes = new Map([...handlers, ...blockTypes.map((type) => [type.type, type] as const)]);
  const definitions = new Definitions({
    stepTypes,
    load: async (_, workflowId, revision) => {
      const definition = ground.definitions.get(workflowId);
      return definition && { workflowId, workflowName: "w", revision, definition, parameters: {} };
    },
  });
  const desk = new CommandDesk({
    replicaId,
    inbox: createVirtualInbox(database, link, () => ids.next("signal")),
    news,
    clock,
    log,
    deliver: (tenantId, executionId, command) => engine.deliver(tenantId, executionId, command),
  });
  const signals = createVirtualSignals(database.outside, link, replicaId);
  const deliveries: Deliveries = new Deliveries({ signals, control: (...command) => engine.control(...command), clock, log });
  const children: Children = new Children({
    find: createVirtualChildFinder(database, link, sabotage),
    definition: (...revision) => definitions.get(...revision),
    begin: (...execution) => engine.begin(...execution),
    control: (...command) => engine.control(...command),
    now: () => leases.now(),
  });
  const tasks = createVirtualTasks(database.outside, link, sabotage);
  const taskBoard = new TaskBoard({ store: tasks, news });
  const deliver: Deliveries["tellCommands"] = (...sent) => (sabotage === "outbox_not_stored" ? undefined : deliveries.tellCommands(...sent));
  const engine: Engine = new Engine({
    ...(ground.hasOutside ? { signals, children, tasks: taskBoard, deliver } : {}),
    handlers,
    services: {
      http: { request: unreachable },
      grpc: { call: unreachable, exchange: unreachable },
      tokens: { get: unreachable },
      ...offlineServices(),
      clock,
      log,
    },
    journal,
    publish: (executionId, events, tenantId) => {
      ground.onCommitted(process, executionId, events);
      progress.publish(tenantId, executionId, events);
    },
    now: () => leases.now(),
    monotonic: () => clock.monotonic(),
    random: () => random.next(),
    store: sabotage === "resume_off_by_one" ? forgetfulStore(store) : store,
    definitions,
    leases,
    desk,
  });
  news.listen({
    onProgress: (tenantId, executionId, first, last) => progress.heard(tenantId, executionId, first, last),
    onCommand: () => void desk.look(),
    onAnswer: (commandId) => desk.answered(commandId),
    onDue: () => engine.wake(),
  });
  const taskClock = new TaskClock({
    store: tasks,
    board: taskBoard,
    report: (tenantId, executionId, command) => engine.control({ ...caller, tenantId, actor: "engine" }, executionId, command),
    clock,
    log,
    random: () => random.next(),
  });
  const findStart: ConstructorParameters<typeof SagaStarter>[0]["findStart"] = (tenantId, requestId, executionKey) =>
    link.call("find start", () => database.findStart(tenantId, requestId, executionKey));
  const sagas = new SagaStarter({ engine, stepTypesOf: async () => stepTypes, ids, now: () => leases.now(), findStart });
  const starter = new Starter({
    engine,
    definitions,
    ids,
    now: () => leases.now(),
    findWorkflow: async (_, id) => ({ id, name: "w", state: "active", activeRevision: 1, pausedStarts: "reject" }),
    readWorkflow: async (_, id) => ({ id, name: "w", state: "active", activeRevision: 1, pausedStarts: "reject" }),
    gate: { take: async () => "running", drop: async () => undefined, queued: () => undefined },
    findStart,
  });
  return {
    process,
    engine,
    starter,
    progress,
    outside: { signals: new Signals({ repository: signals, deliveries, ids }), sagas, taskBoard, tasks },
    hear: (payload) => news.receive(payload),
    async start() {
      // A process that cannot register does not come up and is started again.
      while (
        !process.dead &&
        !(await leases.start().then(
          () => true,
          () => false,
        ))
      ) {
        // It may have registered and taken calls meanwhile, so it ends; the older worlds, of which seeds are kept, try again.
        if (ground.hasOutside) return process.kill();
        await clock.sleep(200);
      }
      news.start();
      engine.start();
      if (!ground.hasOutside) return;
      deliveries.start();
      taskClock.start();
    },
    async stop() {
      if (ground.hasOutside) {
        await taskClock.stop();
        await deliveries.stop();
      }
      await engine.stop(300);
      await journal.stop();
      news.tellDue();
      await leases.stop();
    },
  };
}

const unreachable = (): Promise<never> => Promise.reject(new Error("no network here"));

const value: StepHandler = {
  type: "value",
  nature: "pure",
  fields: { value: { as: "template" } },
  startToCloseMs: 30_000,
  startToCloseMsMax: 900_000,
  run: ({ config }) => ({ kind: "succeeded", result: config["value"] ?? null }),
};

function idsFrom(random: Random, now: () => number): IdSource {
  return {
    next: (kind) =>
      formatId(
        kind,
        uuidV7(
          Math.round(now()),
          Uint8Array.from({ length: 10 }, () => random.int(0, 255)),
        ),
      ),
  };
}

/** What the engine itself holds for a bug is one. */
function complainingLog(complain: (what: string) => void): Log {
  const nothing = (): void => undefined;
  const log: Log = {
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: (fields, message) => {
      if (/invariant|threw|stays claimed/.test(message)) complain(`${message}: ${JSON.stringify(fields)}`);
    },
    child: () => log,
  };
  return log;
}

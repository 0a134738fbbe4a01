/** Whole engines on one real database, whose effects a test resolves by hand. */
import { randomUUID } from "node:crypto";
import type { Caller } from "../../src/base/caller.ts";
import { systemClock } from "../../src/base/clock.ts";
import { parseId } from "../../src/base/ids.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { silentLog } from "../../src/base/log.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { failure } from "../../src/domain/failure.ts";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import { Children } from "../../src/engine/children.ts";
import { CommandDesk } from "../../src/engine/command-desk.ts";
import { Definitions } from "../../src/engine/definitions.ts";
import { Deliveries } from "../../src/engine/deliveries.ts";
import { Engine } from "../../src/engine/engine.ts";
import { Leases } from "../../src/engine/leases.ts";
import { ReplicaNews } from "../../src/engine/replica-news.ts";
import type { TaskPort } from "../../src/engine/run-tasks.ts";
import { Signals } from "../../src/engine/signals.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import { selfDriven } from "../../src/steps/self-driven.ts";
import type { HttpEgress, StepCall, StepHandler } from "../../src/steps/step-handler.ts";
import { BatchedJournal } from "../../src/store/batched-journal.ts";
import { createChildFinder } from "../../src/store/child-finder.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { createEngineStore, type EngineStore } from "../../src/store/engine-store.ts";
import { createInbox } from "../../src/store/inbox.ts";
import type { AppendOutcome, AppendRequest, Journal } from "../../src/store/journal.ts";
import { ReplicaLease } from "../../src/store/replica-lease.ts";
import { createSignalRepository, type SignalRepository } from "../../src/store/signal-repository.ts";
import { loadLedgers } from "../../src/store/sql/load-ledgers.ts";
import { offlineServices } from "../steps/offline-services.ts";
import { ids, openPlace, type Place } from "../store/journal-fixture.ts";
import { callerOf } from "../store/open-store.ts";

export const acme: Caller = callerOf("acme");

/** An attempt that left an engine and waits for the test's answer. */
export interface Sent extends Pick<StepCall, "executionId" | "stepPath" | "attempt" | "operation" | "idempotencyKey" | "signal"> {
  readonly replica: string;
  succeed(result?: JsonObject[string]): void;
  fail(name: string, outcome?: "failed" | "unknown", message?: string): void;
}

export interface World extends AsyncDisposable {
  readonly place: Place;
  readonly definitions: Map<string, JsonObject>;
  /** Every attempt that was sent so far, answered or not. */
  readonly sent: readonly Sent[];
  /** The next attempt that nobody has asked for yet; fails after forty seconds. */
  nextSent(): Promise<Sent>;
  /** From now on every attempt is answered at once by this. */
  answerWith(answer: (sent: Sent) => void): void;
  openEngine(name: string, options?: EngineChoices): Promise<TestEngine>;
  ledgerOf(executionId: string): Promise<readonly ExecutionEvent[]>;
  /** Resolves with the ledger once it holds this event; fails after forty seconds. */
  ledgerWith(executionId: string, type: string): Promise<readonly ExecutionEvent[]>;
  rowOf(executionId: string): Promise<{ state: string; owner: string | null; wake_at: Date | null; last_sequence: number }>;
}

export interface EngineChoices {
  readonly isIdle?: boolean;
  /** Stands between this engine and its claims. */
  readonly store?: (real: EngineStore) => EngineStore;
  /** Stands between this engine and the stored events. */
  readonly signals?: (real: SignalRepository) => SignalRepository;
  /** Task queues of this engine; none unless told. */
  readonly tasks?: TaskPort;
  /** Waits before an append is handed to the journal, or holds it up for good. */
  readonly beforeAppend?: (request: AppendRequest) => Promise<void>;
  /** Waits after an append was committed, before its run hears of it. */
  readonly afterAppend?: (request: AppendRequest) => Promise<void>;
  /** Whom http_request reaches from here; nobody unless told. */
  readonly http?: HttpEgress;
}

export interface TestEngine extends AsyncDisposable {
  readonly engine: Engine;
  readonly leases: Leases;
  readonly replicaId: string;
  /** Every append that was handed to the journal, with what came of it. */
  readonly appends: { readonly request: AppendRequest; readonly outcome: AppendOutcome }[];
  /** Added to this engine's clock. */
  readonly skew: { ms: number };
  readonly signals: Signals;
  readonly deliveries: Deliveries;
  readonly definitions: Definitions;
  /** As kill -9: from this moment it writes, reads and tells nothing any more, and its peers notice. */
  kill(): Promise<void>;
  start(definition: JsonObject, input?: JsonObject): Promise<string>;
  stop(): Promise<void>;
}

/** Rejects when nothing happens; a signal is always awaited, this is only the way to a red test. */
export async function within<T>(promise: Promise<T>, what: string, timeoutMs = 40_000): Promise<T> {
  const timer = new AbortController();
  const late = systemClock.sleep(timeoutMs, timer.signal).then(() => {
    throw new Error(`${what} did not happen within ${timeoutMs} ms`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    late.catch(() => undefined);
    timer.abort();
  }
}

export async function openWorld(): Promise<World> {
  const place = await openPlace();
  await place.pool.query("insert into tenants (id) values ('acme') on conflict do nothing");
  const database = await openDatabase({ connection: place.database.connection, poolMax: 6, log: silentLog, applicationName: "test" });
  const definitions = new Map<string, JsonObject>();
  const sent: Sent[] = [];
  let asked = 0;
  /** Replaced each time something is sent or committed. */
  let news = Promise.withResolvers<void>();
  const tell = (): void => {
    news.resolve();
    news = Promise.withResolvers();
  };
  let answer: ((sent: Sent) => void) | undefined;
  const engines: TestEngine[] = [];
  const links = new Set<ReplicaNews>();
  const onSent = (attempt: Sent): void => {
    sent.push(attempt);
    if (answer) answer(attempt);
    tell();
  };
  const ledgerOf = async (executionId: string) => (await loadLedgers(place.pool, "acme", [executionId])).get(executionId) ?? [];
  return {
    place,
    definitions,
    sent,
    answerWith: (given) => void (answer = given),
    async nextSent() {
      const index = asked++;
      while (!sent[index]) await within(news.promise, `attempt ${index + 1}`);
      return sent[index];
    },
    async openEngine(name, choices) {
      const opened = await openEngine(name, { place, database, definitions, onSent, tell, links }, choices);
      engines.push(opened);
      return opened;
    },
    ledgerOf,
    async ledgerWith(executionId, type) {
      for (;;) {
        const more = news.promise;
        const ledger = await ledgerOf(executionId);
        if (ledger.some((event) => event.type === type)) return ledger;
        await within(more, type);
      }
    },
    async rowOf(executionId) {
      const { rows } = await place.pool.query("select state, owner, wake_at, last_sequence from workflow_executions where id = $1", [uuidOf(executionId)]);
      return rows[0];
    },
    [Symbol.asyncDispose]: async () => {
      for (const engine of engines) await engine.stop();
      await database.close();
      await place[Symbol.asyncDispose]();
    },
  };
}

/** Long enough for the slowest machine: a lease is lost here only when a test takes it. */
const leaseMs = 60_000;

interface Ground {
  readonly place: Place;
  readonly database: Database;
  readonly definitions: Map<string, JsonObject>;
  readonly onSent: (sent: Sent) => void;
  readonly tell: () => void;
  /** How the engines of this world hear of each other. */
  readonly links: Set<ReplicaNews>;
}

async function openEngine(
  name: string,
  { place, database, definitions: stored, onSent, tell, links }: Ground,
  choices: EngineChoices = {},
): Promise<TestEngine> {
  const clock = systemClock;
  const connection = place.database.connection;
  const handlers: ReadonlyMap<string, StepHandler> = new Map([...stepHandlers, [selfDriven.type, selfDriven], ["call", callBy(name, onSent)]]);
  const stepTypes = new Map([...handlers, ...blockTypes.map((type) => [type.type, type] as const)]);
  const definitions = new Definitions({
    stepTypes,
    load: async (_, workflowId, revision) => {
      const definition = stored.get(workflowId);
      return definition && { workflowId, workflowName: "w", revision, definition, parameters: {} };
    },
  });
  const replicaId = randomUUID();
  const leases = new Leases({
    lease: new ReplicaLease({ replicaId, connection, leaseMs }),
    leaseMs,
    clock,
    log: silentLog,
    address: name,
    onLost: () => engine.forgetAll(),
    onFreed: () => engine.wake(),
  });
  const journal = new BatchedJournal({ connection, fence: () => leases.fence, clock, log: silentLog, onFenced: () => leases.lost() });
  const appends: TestEngine["appends"] = [];
  const firstAppends = new Map<string, number>();
  const watched: Journal = {
    get backlogRows() {
      return journal.backlogRows;
    },
    stop: () => journal.stop(),
    async append(request) {
      await choices.beforeAppend?.(request);
      if (life.isOver) return { kind: "fenced" };
      if (request.start) firstAppends.set(request.executionId, request.events.length);
      const outcome = await journal.append(request);
      await choices.afterAppend?.(request);
      appends.push({ request, outcome });
      return outcome;
    },
  };
  const claims = createEngineStore(database.pool, () => leases.fence);
  const skew = { ms: 0 };
  const life = { isOver: false };
  const real = createSignalRepository(database, replicaId);
  const signals = mortal(choices.signals?.(real) ?? real, life);
  const deliveries: Deliveries = new Deliveries({
    signals,
    control: (...wish) => (life.isOver ? Promise.reject(new Error("dead")) : engine.control(...wish)),
    clock,
    log: silentLog,
  });
  const link = { up: true, send: async (payloads: readonly string[]) => tellOthers(links, news, life.isOver ? [] : payloads) };
  const news: ReplicaNews = new ReplicaNews({ replicaId, link, clock, log: silentLog, hasPeers: () => links.size > 1 });
  const desk = new CommandDesk({ replicaId, inbox: createInbox(database), news, clock, log: silentLog, deliver: (...wish) => engine.deliver(...wish) });
  news.listen({
    onProgress: () => undefined,
    onCommand: () => void (life.isOver || desk.look()),
    onAnswer: (commandId) => desk.answered(commandId),
    onDue: () => engine.wake(),
  });
  const nowhere = (): Promise<never> => Promise.reject(new Error("no network here"));
  const http = choices.http ?? { request: nowhere };
  const grpc = { call: nowhere, exchange: nowhere };
  const tokens = { get: nowhere };
  const engine: Engine = new Engine({
    handlers,
    services: { http, grpc, tokens, ...offlineServices(), clock, log: silentLog },
    journal: watched,
    publish: tell,
    now: () => leases.now() + skew.ms,
    monotonic: () => clock.monotonic(),
    random: () => 0,
    store: choices.store?.(claims) ?? claims,
    definitions,
    leases,
    desk,
    signals,
    ...(choices.tasks ? { tasks: choices.tasks } : {}),
    children: new Children({
      find: (...wish) => (life.isOver ? Promise.reject(new Error("dead")) : createChildFinder(database.pool)(...wish)),
      definition: (...revision) => definitions.get(...revision),
      begin: (...execution) => engine.begin(...execution),
      control: (...command) => engine.control(...command),
      now: () => leases.now(),
    }),
    deliver: (tenantId, senderId, commands) => deliveries.tellCommands(tenantId, senderId, commands),
  });
  await leases.start();
  links.add(news);
  if (!choices.isIdle) {
    engine.start();
    deliveries.start();
  }
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    links.delete(news);
    await deliveries.stop();
    await engine.stop(0);
    await news.stop();
    await journal.stop();
    await leases.stop();
  };
  return {
    engine,
    leases,
    replicaId,
    appends,
    skew,
    signals: new Signals({ repository: signals, deliveries, ids }),
    deliveries,
    definitions,
    async kill() {
      life.isOver = true;
      await leases.stop();
      engine.forgetAll();
    },
    async start(definition, input = {}) {
      const workflowId = ids.next("workflow");
      stored.set(workflowId, definition);
      const executionId = ids.next("execution");
      const now = leases.now();
      const shared = { workflowId, workflowName: "w", revision: 1, input, correlationId: "corr" };
      const unset = { executionKey: undefined, requestId: undefined, requestHash: undefined, traceparent: undefined };
      const revision = await definitions.get("acme", workflowId, 1);
      const { outcome, state } = await engine.begin("acme", revision, {
        executionId,
        start: { ...shared, ...unset, labels: {}, priority: 5, createdAt: now },
        created: {
          type: "execution_created",
          at: now,
          stepPath: "",
          attempt: 0,
          payload: { ...shared, triggerType: "api", timeoutAt: now + revision.definition.executionTimeoutMs },
        },
      });
      if (outcome.kind !== "committed") throw new Error(`the start was ${outcome.kind}`);
      if (state.sequence !== firstAppends.get(executionId)) throw new Error("a start was answered with what is not durable yet");
      return executionId;
    },
    stop: () => (stopping ??= stop()),
    [Symbol.asyncDispose]: () => (stopping ??= stop()),
  };
}

/** A repository of a process that may die: then it does nothing more. */
function mortal(real: SignalRepository, life: { readonly isOver: boolean }): SignalRepository {
  const guarded = Object.entries(real).map(([name, method]) => [
    name,
    (...wish: never[]) => (life.isOver ? Promise.reject(new Error("dead")) : (method as (...wish: never[]) => unknown)(...wish)),
  ]);
  return Object.fromEntries(guarded) as SignalRepository;
}

function tellOthers(links: ReadonlySet<ReplicaNews>, from: ReplicaNews, payloads: readonly string[]): boolean {
  for (const other of links) if (other !== from) for (const payload of payloads) other.receive(payload);
  return true;
}

/** The effect `call`: reports each attempt to the test and waits for its answer, or for the abort. */
function callBy(replica: string, onSent: (sent: Sent) => void): StepHandler {
  return {
    type: "call",
    nature: "effect",
    fields: { body: { as: "template" } },
    startToCloseMs: 60_000,
    startToCloseMsMax: 900_000,
    run: (call) =>
      new Promise<StepOutcome>((resolve) => {
        const aborted = (): void => resolve({ kind: "failed", outcome: "unknown", failure: failure("CANCELED", "aborted") });
        if (call.signal.aborted) return aborted();
        call.signal.addEventListener("abort", aborted, { once: true });
        const { executionId, stepPath, attempt, operation, idempotencyKey, signal } = call;
        onSent({
          ...{ replica, executionId, stepPath, attempt, operation, idempotencyKey, signal },
          succeed: (result = null) => resolve({ kind: "succeeded", result }),
          fail: (name, outcome = "failed", message = name) => resolve({ kind: "failed", outcome, failure: failure(name, message) }),
        });
      }),
  };
}

function uuidOf(executionId: string): string {
  return parseId("execution", executionId) ?? "";
}

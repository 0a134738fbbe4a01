/**
 * Whoever acts on executions from outside: senders of events, workers that take tasks and report late, twice or never, and services
 * that start sagas, join them with what they do themselves, and end or abort them.
 */
import { AppError } from "../../src/base/errors.ts";
import type { Json, JsonObject } from "../../src/base/json.ts";
import type { ReportedOutcome, ReportRequest } from "../../src/domain/reported-outcome.ts";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import type { TakenTask } from "../../src/domain/task.ts";
import type { Clients } from "./clients.ts";
import { eventKeys, eventTypes } from "./outside-steps.ts";
import type { StoredTask } from "./outside-tables.ts";
import type { Random } from "./random.ts";
import { caller, type Replica } from "./replica.ts";
import type { World } from "./world.ts";

/** An event that was sent, as its sender knows it. */
export interface SentEvent {
  readonly dedupId: string;
  readonly eventType: string;
  /** Undefined: it was published under `correlationKey`. */
  readonly executionId: string | undefined;
  readonly correlationKey: string;
  readonly ttlMs: number | undefined;
  acknowledged: boolean;
}

export class OutsideClients {
  readonly sent: SentEvent[] = [];
  reports = 0;
  readonly #world: World;
  readonly #clients: Clients;
  readonly #random: Random;

  constructor(world: World, clients: Clients) {
    this.#world = world;
    this.#clients = clients;
    this.#random = world.random.fork();
  }

  begin(): void {
    const random = this.#random;
    for (let index = random.int(2, 9); index > 0; index--) void this.#clients.tracked(random.between(0, 8_000), () => this.#send(`event ${index}`));
    for (let index = random.int(0, 2); index > 0; index--) void this.#clients.tracked(random.between(0, 2_000), () => this.#saga(`saga ${index}`));
    this.#world.database.outside.onTask = (task) => this.#offer(task);
  }

  // ── events ──

  async #send(dedupId: string): Promise<void> {
    const random = this.#random;
    const executions = [...this.#world.database.executions.keys()];
    const executionId = executions.length > 0 && random.chance(0.5) ? random.pick(executions) : undefined;
    const ttlMs = random.pick([undefined, undefined, 400]);
    const event: SentEvent = { dedupId, eventType: random.pick(eventTypes), executionId, correlationKey: random.pick(eventKeys), ttlMs, acknowledged: false };
    this.sent.push(event);
    const again = random.pick([0, 0, 1, 2]);
    for (let time = 0; time <= again; time++) {
      const answer = await this.#clients.untilAnswered((replica) => sendEvent(replica, event, this.#endState));
      if ("value" in answer) event.acknowledged = true;
      else if (answer.refusal.reason !== "EXECUTION_TERMINAL") this.#clients.violated(`${dedupId} was refused: ${answer.refusal.message}`);
      await this.#clients.pause(random.between(0, 3_000));
    }
  }

  readonly #endState = async (executionId: string): Promise<string | undefined> => {
    const row = this.#world.database.executions.get(executionId)?.row;
    return row?.endedAt === undefined ? undefined : row.status;
  };

  // ── workers ──

  /** A worker polls some time after a task was put into its queue. */
  #offer({ queue }: StoredTask): void {
    const random = this.#random;
    const delayMs = random.chance(0.85) ? random.between(0.5, 80) : random.between(80, 3_000);
    this.#world.scheduler.after(delayMs, undefined, () => void this.#poll(queue));
  }

  async #poll(queue: string): Promise<void> {
    const replica = this.#world.replica(this.#random);
    const ask = { tenantId: caller.tenantId, worker: `w${this.#random.int(1, 3)}`, queues: [queue], taskTypes: [], labels: {}, session: undefined };
    const taken = replica && (await this.#clients.ask(replica, ({ outside }) => outside.taskBoard.take(ask, 2), 3_000));
    if (taken !== undefined && taken !== "gone" && "value" in taken) {
      for (const task of taken.value) void this.#clients.tracked(0, () => this.#carryOut(task));
      if (taken.value.length > 0) return;
    }
    const waits = [...this.#world.database.outside.tasks.values()].some((task) => task.queue === queue && !task.held);
    if (waits && !this.#world.isOver) this.#world.scheduler.after(300, undefined, () => void this.#poll(queue));
  }

  async #carryOut(task: TakenTask): Promise<void> {
    const { world, random } = { world: this.#world, random: this.#random };
    const { executionId, path, operation, idempotencyKey: key, closeMs, deadlineAt, heartbeatMs } = task;
    // It dies with the task in hand; or the answer was so long on its way that its time is over.
    if (random.chance(0.07) || world.database.now >= deadlineAt) return;
    world.checkTaskIntent(task);
    const done = Promise.withResolvers<StepOutcome>();
    const request = { executionId, path, operation, key, body: task.input, barrier: false, startToCloseMs: closeMs, deadlineAt };
    world.participants.request(request, done.resolve);
    if (heartbeatMs !== undefined && random.chance(0.6)) this.#beat(task, heartbeatMs);
    const outcome = await this.#within(done.promise, deadlineAt, closeMs);
    if (!outcome) return;
    if (random.chance(0.15)) await this.#clients.pause(random.between(0, 9_000));
    const { generation, attempt } = task;
    const ref = { path, operation, generation, attempt };
    const times = random.pick([1, 1, 1, 2]);
    for (let time = 0; time < times; time++) {
      void this.#clients.tracked(time * random.between(0, 4_000), () =>
        this.#report(executionId, { ...ref, outcome: reported(outcome), random: 0.5 }, deadlineAt),
      );
    }
  }

  #beat(task: TakenTask, heartbeatMs: number): void {
    this.#world.scheduler.after(heartbeatMs * 0.6, undefined, () => {
      const replica = this.#world.replica(this.#random);
      if (!replica || this.#world.isOver || this.#world.database.now >= task.deadlineAt) return;
      void this.#clients.ask(replica, ({ outside }) => outside.tasks.extend(caller.tenantId, [{ taskId: task.id, hasNews: false }]), 2_000);
      this.#beat(task, heartbeatMs);
    });
  }

  /** Undefined: nothing was heard until long after an honest participant is done. */
  #within(done: Promise<StepOutcome>, deadlineAt: number, closeMs: number): Promise<StepOutcome | undefined> {
    const patienceMs = deadlineAt + Math.max(5_000, closeMs) + 500 - this.#world.database.now;
    return Promise.race([done, this.#clients.pause(patienceMs).then(() => undefined)]);
  }

  /** Until it is answered. A success is never refused while the execution can still take it, and what is taken stands in the ledger. */
  async #report(executionId: string, request: ReportRequest, deadlineAt: number): Promise<void> {
    this.reports += 1;
    const { database, sabotage } = this.#world;
    const { path, operation, outcome } = request;
    if (sabotage === "late_report_dropped" && database.now > deadlineAt) return this.#checkTaken(executionId, request);
    const answer = await this.#clients.untilAnswered(({ engine }) => engine.control(caller, executionId, { kind: "report", ...request }));
    if (operation !== "action" || outcome.kind !== "succeeded") return;
    if ("value" in answer) this.#checkTaken(executionId, request);
    else if (answer.refusal.reason !== "EXECUTION_TERMINAL") this.#clients.violated(`${executionId}/${path}: a success was refused: ${answer.refusal.message}`);
  }

  #checkTaken(executionId: string, { path, operation, outcome }: ReportRequest): void {
    if (operation !== "action" || outcome.kind !== "succeeded") return;
    const isThere = this.#world.database.ledgerOf(executionId).some(({ type, stepPath }) => type === "step_succeeded" && stepPath === path);
    if (!isThere) this.#clients.violated(`${executionId}/${path}: a success was acknowledged and is not in the ledger`);
  }

  // ── sagas ──

  async #saga(requestId: string): Promise<void> {
    const random = this.#random;
    const count = random.int(1, 3);
    const steps = Array.from({ length: count }, (_, index) => sagaStep(`p${index}`, random));
    const autoComplete = random.chance(0.6);
    const wish = {
      ...{ steps, prepared: false, autoComplete, ttlMs: random.pick([0, 0, 4_000, 20_000]), correlationId: undefined, executionKey: undefined },
      ...{ compensationPolicy: undefined, labels: {}, checkBack: undefined, requestId },
    };
    const started = await this.#clients.untilAnswered(({ outside }) => outside.sagas.start(caller, wish));
    if ("refusal" in started) return this.#clients.violated(`${requestId} was refused: ${started.refusal.reason} ${started.refusal.message}`);
    const { executionId } = started.value;
    this.#clients.acknowledged.add(executionId);
    const again = random.chance(0.3) ? await this.#clients.untilAnswered(({ outside }) => outside.sagas.start(caller, wish)) : started;
    if (!("value" in again) || again.value.executionId !== executionId) this.#clients.violated(`${requestId} was started again by the same request`);
    if (random.chance(0.25)) {
      void this.#clients.tracked(random.between(0, 4_000), async () => {
        await this.#clients.untilAnswered(({ engine }) => engine.control(caller, executionId, { kind: "abort_saga", actor: "user", reason: "drawn" }));
      });
    }
    for (let index = random.int(0, 2); index > 0; index--) await this.#join(executionId, `d${index}`);
    if (autoComplete) return;
    await this.#clients.pause(random.between(0, 2_000));
    await this.#clients.untilAnswered(({ engine }) => engine.control(caller, executionId, { kind: "complete_saga", whenIdle: true }));
  }

  /** A step that its caller carries out: joins, acts if it may, and reports. */
  async #join(executionId: string, name: string): Promise<void> {
    const { participants, database } = this.#world;
    const { action: _, ...step } = sagaStep(name, this.#random);
    const joined = await this.#clients.untilAnswered(({ engine }) =>
      engine.control(caller, executionId, {
        kind: "enlist_step",
        step: { ...step, timeouts: { start_to_close: "2s" } },
        selfDriven: true,
        stepKind: undefined,
      }),
    );
    if (!("value" in joined) || joined.value?.["decision"] === "STOP") return;
    for (let look = 0; look < 40; look++) {
      await this.#clients.pause(50);
      const intent = database.ledgerOf(executionId).find((event) => event.type === "step_started" && event.stepPath === name);
      const deadlineAt = intent?.type === "step_started" ? intent.payload.deadlineAt : undefined;
      if (deadlineAt === undefined) continue;
      if (database.now >= deadlineAt || this.#random.chance(0.1)) return;
      const done = Promise.withResolvers<StepOutcome>();
      const key = `${executionId}/${name}/action`;
      const request = { executionId, path: name, operation: "action" as const, key, body: null, barrier: false, startToCloseMs: 2_000, deadlineAt };
      participants.request(request, done.resolve);
      const outcome = await this.#within(done.promise, deadlineAt, 2_000);
      if (!outcome) return;
      if (this.#random.chance(0.2)) await this.#clients.pause(6_000);
      const ref = { path: name, operation: "action" as const, generation: 0, attempt: 1 };
      return await this.#report(executionId, { ...ref, outcome: reported(outcome), random: 0.5 }, deadlineAt);
    }
  }
}

function sendEvent({ outside }: Replica, event: SentEvent, endState: (executionId: string) => Promise<string | undefined>): Promise<unknown> {
  const { dedupId, eventType, ttlMs, executionId, correlationKey } = event;
  const request = { eventType, data: dedupId as Json, dedupId, ttlMs, validateOnly: false };
  return executionId === undefined
    ? outside.signals.publish(caller, correlationKey, request)
    : outside.signals.send(caller, executionId, () => endState(executionId), request);
}

function sagaStep(name: string, random: Random): JsonObject {
  const url = `http://participant/${name}`;
  const pull = { pull: { task_type: "t", task_queue: "q0" } };
  return {
    name,
    input: { of: name },
    action: random.chance(0.3) ? pull : { http: { method: "POST", url } },
    ...(random.chance(0.85)
      ? { compensation: random.chance(0.25) ? pull : { http: { method: "POST", url: `${url}/undo` } } }
      : { kind: "COMPENSATION_KIND_READONLY" }),
    action_retry: { maximum_attempts: random.int(1, 3), initial_interval: "0.1s" },
    timeouts: { start_to_close: random.pick(["0.5s", "2s"]) },
  };
}

function reported(outcome: StepOutcome): ReportedOutcome {
  if (outcome.kind === "succeeded") return { kind: "succeeded", result: outcome.result };
  if (outcome.kind === "failed") return { kind: "failed", failure: outcome.failure, outcome: outcome.outcome };
  throw new AppError("INTERNAL_BUG", "a participant waits for nobody");
}

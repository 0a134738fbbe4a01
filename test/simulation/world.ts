/** Everything of one simulated run but its clients: time, the database, the participants, and replicas that die and come back. */
import { canonicalJson, type Json, type JsonObject } from "../../src/base/json.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import type { Failure } from "../../src/domain/failure.ts";
import type { TakenTask } from "../../src/domain/task.ts";
import type { StepCall, StepHandler } from "../../src/steps/step-handler.ts";
import { VirtualDatabase } from "./database.ts";
import { drawFaultPlan, Faults } from "./faults.ts";
import { Participants } from "./participants.ts";
import { Random } from "./random.ts";
import { createReplica, type Replica, type ReplicaGround } from "./replica.ts";
import { guardsOf, misread, type Sabotage } from "./sabotage.ts";
import { Scheduler, VirtualProcess } from "./scheduler.ts";

export class World {
  readonly scheduler = new Scheduler();
  readonly random: Random;
  readonly database: VirtualDatabase;
  readonly participants: Participants;
  readonly faults: Faults;
  readonly violations: string[] = [];
  /** As their authors wrote them, by workflow. */
  readonly definitions = new Map<string, JsonObject>();
  readonly #read = new Map<string, JsonObject>();
  readonly #replicas: Replica[] = [];
  readonly #sabotage: Sabotage | undefined;
  readonly #ground: ReplicaGround;
  /** With events, children, tasks and sagas. */
  readonly hasOutside: boolean;
  #spawned = 0;
  isOver = false;

  constructor(seed: number, sabotage: Sabotage | undefined, hasOutside: boolean) {
    this.random = new Random(seed);
    this.#sabotage = sabotage;
    this.hasOutside = hasOutside;
    this.database = new VirtualDatabase(this.scheduler, guardsOf(sabotage));
    this.participants = new Participants(this.random.fork(), this.scheduler);
    this.faults = new Faults(this.random.fork(), drawFaultPlan(this.random), this.scheduler);
    const lost = this.random.fork();
    this.#ground = {
      scheduler: this.scheduler,
      database: this.database,
      faults: this.faults,
      random: this.random.fork(),
      sabotage,
      definitions: this.#read,
      hasOutside,
      callHandler: (...wish) => this.#callHandler(...wish),
      broadcast: (payloads) => {
        for (const { process, hear } of this.#replicas) {
          if (lost.chance(0.1)) continue;
          this.scheduler.after(lost.between(0.2, 3), process, () => payloads.forEach(hear));
        }
      },
      onCommitted: (_, executionId, events) => this.#checkCommitted(executionId, events),
      onComplaint: (what) => this.violations.push(what),
    };
    const count = this.random.int(2, 3);
    for (let index = 0; index < count; index++) this.#spawn(`r${index}`);
  }

  define(workflowId: string, drawn: JsonObject): void {
    // A child that waits to be called off is, at the latest when its parent's time is over.
    const definition = JSON.stringify(drawn).includes("wfl_patient") ? { execution_timeout: "20s", ...drawn } : drawn;
    this.definitions.set(workflowId, definition);
    this.#read.set(workflowId, misread(definition, this.#sabotage));
  }

  get sabotage(): Sabotage | undefined {
    return this.#sabotage;
  }

  /** Everything wrong that was seen so far. */
  get faultsSeen(): readonly string[] {
    return [...this.violations, ...this.database.violations, ...this.participants.violations];
  }

  /** A replica that takes calls, as a load balancer finds one; it may be frozen. */
  replica(random: Random): Replica | undefined {
    const alive = this.#replicas.filter(({ process }) => !process.dead);
    return alive.length > 0 ? random.pick(alive) : undefined;
  }

  /** No replica moves any more. */
  end(): void {
    this.isOver = true;
    for (const { process } of [...this.#replicas]) process.kill();
  }

  #spawn(name: string, replicaId = this.#nextReplicaId()): void {
    if (this.isOver) return;
    const random = this.#ground.random;
    const process = new VirtualProcess(`${name}.${this.#spawned}`);
    const replica = createReplica(process, replicaId, this.#ground);
    this.#replicas.push(replica);
    process.onDeath(() => {
      this.#replicas.splice(this.#replicas.indexOf(replica), 1);
      this.scheduler.after(random.between(50, 3_000), undefined, () => this.#spawn(name, random.chance(0.2) ? replicaId : undefined));
    });
    this.scheduler.after(0, process, () => void replica.start());
    if (!random.chance(0.15)) return;
    this.scheduler.after(random.between(500, 8_000), process, () => void replica.stop().then(() => process.kill()));
  }

  #nextReplicaId(): string {
    return `replica-${String(this.#ground.random.int(0, 999)).padStart(3, "0")}-${++this.#spawned}`;
  }

  /** Whoever holds events for committed must find them in the ledger, as they are. */
  #checkCommitted(executionId: string, events: readonly ExecutionEvent[]): void {
    const ledger = this.database.executions.get(executionId)?.ledger ?? [];
    for (const event of events) {
      const text = ledger[event.sequence - 1];
      if (text !== JSON.stringify(event)) {
        const found = text ?? "nothing";
        this.violations.push(`${executionId}: event ${event.sequence} ${event.type} is held for committed, and the ledger has ${found.slice(0, 120)}`);
      }
    }
  }

  #checkIntent({ executionId, stepPath, operation, attempt, idempotencyKey }: StepCall): void {
    const type = operation === "action" ? "step_started" : "compensation_started";
    const ledger = this.database.ledgerOf(executionId);
    const intent = ledger.find((event) => event.type === type && event.stepPath === stepPath && event.attempt === attempt);
    const key = intent && "idempotencyKey" in intent.payload ? intent.payload.idempotencyKey : undefined;
    if (key !== idempotencyKey) this.violations.push(`${executionId}/${stepPath}: attempt ${attempt} of ${operation} left without a durable intent`);
  }

  /** A task leaves only with the intent of its attempt. */
  checkTaskIntent({ executionId, path, operation, attempt }: TakenTask): void {
    const type = operation === "action" ? "step_started" : "compensation_started";
    const isThere = this.database.ledgerOf(executionId).some((event) => event.type === type && event.stepPath === path && event.attempt === attempt);
    if (!isThere) this.violations.push(`${executionId}/${path}: attempt ${attempt} of ${operation} was taken without a durable intent`);
  }

  #callHandler(process: VirtualProcess, type: string, field: string): StepHandler {
    return {
      type,
      nature: "effect",
      fields: { [field]: { as: "template" } },
      startToCloseMs: 1_000,
      startToCloseMsMax: 900_000,
      naturalKind: (config) => (config["reads"] === true ? "readonly" : undefined),
      run: (call) =>
        new Promise((resolve) => {
          this.#checkIntent(call);
          const fault = this.faults.draw(process, `call ${call.stepPath}`, ["die_before", "die_after", "freeze"]);
          if (fault === "die_before") return process.kill();
          call.signal.addEventListener("abort", () => resolve({ kind: "failed", outcome: "unknown", failure: call.signal.reason as Failure }), { once: true });
          const key = this.#sabotage === "no_idempotency_key" ? `${call.idempotencyKey}/${call.attempt}` : call.idempotencyKey;
          const { executionId, stepPath: path, operation, deadlineAt, config } = call;
          const startToCloseMs = deadlineAt - call.now();
          const body = JSON.parse(canonicalJson(config[field] ?? null)) as Json;
          this.participants.request({ executionId, path, operation, key, body, barrier: config["barrier"] === true, startToCloseMs, deadlineAt }, (outcome) => {
            this.scheduler.after(0.2, process, () => resolve(outcome));
          });
          if (fault === "die_after") process.kill();
        }),
    };
  }
}

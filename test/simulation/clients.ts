/**
 * Clients of a simulated run: they start executions, command and watch them through whichever replica answers, try again as
 * careful clients do, and remember what they were told.
 */
import { AppError, messageOf } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ControlCommand } from "../../src/domain/control-command.ts";
import { watchExecution } from "../../src/engine/watch.ts";
import { BrokenConnection } from "./link.ts";
import { outsideSteps } from "./outside-steps.ts";
import type { Random } from "./random.ts";
import { type DrawOutside, drawDefinition } from "./random-definition.ts";
import { caller, type Replica } from "./replica.ts";
import type { World } from "./world.ts";

type Answer<Value> = { readonly value: Value } | { readonly refusal: AppError } | "gone";

export class Clients {
  readonly #world: World;
  readonly #random: Random;
  /** Executions that were acknowledged. */
  readonly acknowledged = new Set<string>();
  /** Starts, commands and watches under way. */
  open = 0;
  commands = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random.fork();
  }

  begin(): void {
    const outside = this.#world.hasOutside ? this.#defineChildren() : undefined;
    const count = this.#random.int(1, 3);
    for (let index = 0; index < count; index++) {
      const workflowId = `wfl_${index}`;
      this.#world.define(workflowId, drawDefinition(this.#random, outside));
      void this.tracked(this.#random.between(5, 2_000), () => this.#startOne(workflowId));
    }
  }

  /** What an operator does about executions that go on only by hand. */
  lookAfter(executionId: string, round: number): void {
    const stored = this.#world.database.executions.get(executionId);
    if (!stored || stored.row.endedAt !== undefined || stored.owner !== undefined) return;
    if (stored.row.paused) void this.tracked(0, () => this.#command(executionId, { kind: "resume", actor: "operator", reason: "" }));
    else if (stored.row.status === "stuck" && round % 3 === 1)
      void this.tracked(0, () => this.#command(executionId, { kind: "retry", actor: "operator", reason: "look", steps: [] }));
    else if (stored.row.status === "stuck" && round % 3 === 0)
      void this.tracked(0, () => this.#command(executionId, { kind: "terminate", actor: "operator", reason: "given up" }));
  }

  /** Workflows that others start: small ones, one that starts small ones, and one that ends only when it is called off. */
  #defineChildren(): DrawOutside {
    const random = this.#random;
    const call = (name: string): JsonObject => ({ name, call: { body: name }, compensation: { step: { call: { body: "{{ original.input }}" } } } });
    this.#world.define("wfl_c0", drawDefinition(random));
    this.#world.define("wfl_c1", { steps: [call("s1")] });
    this.#world.define("wfl_patient", { steps: [call("s1"), { name: "s2", delay: { duration: "3600s" } }] });
    this.#world.define("wfl_c2", drawDefinition(random, outsideSteps(["wfl_c0", "wfl_c1"], [])));
    return outsideSteps(["wfl_c0", "wfl_c1", "wfl_c2", "wfl_patient"], ["wfl_patient"]);
  }

  async #startOne(workflowId: string): Promise<void> {
    const request = {
      workflow: workflowId,
      revision: 0,
      input: {},
      executionKey: undefined,
      conflictPolicy: "fail" as const,
      correlationId: undefined,
      labels: {},
      priority: 5,
      startDelayMs: this.#random.chance(0.15) ? this.#random.int(100, 4_000) : 0,
      requestId: `request ${workflowId}`,
    };
    const asked = await this.untilAnswered(({ starter }) => starter.start(caller, request));
    if ("refusal" in asked) return void this.violated(`a start was refused: ${asked.refusal.reason} ${asked.refusal.message}`);
    const { executionId } = asked.value;
    this.acknowledged.add(executionId);
    if (!this.#world.database.executions.has(executionId)) this.violated(`${executionId} was acknowledged and does not exist`);
    const again = this.#random.chance(0.3) ? await this.untilAnswered(({ starter }) => starter.start(caller, request)) : undefined;
    if (again && (!("value" in again) || again.value.executionId !== executionId)) this.violated(`${workflowId} was started again by the same request`);
    const commands = this.#random.pick([0, 0, 1, 2, 3]);
    for (let index = 0; index < commands; index++) {
      void this.tracked(this.#random.between(0, 6_000), () => this.#command(executionId, this.#drawCommand(executionId)));
    }
    if (this.#random.chance(0.6)) void this.tracked(this.#random.between(0, 500), () => this.#watch(executionId));
  }

  #drawCommand(executionId: string): ControlCommand {
    const random = this.#random;
    const paths = [...new Set(this.#world.database.ledgerOf(executionId).flatMap(({ stepPath }) => stepPath || []))];
    const path = paths.length > 0 ? random.pick(paths) : "s1";
    const by = { actor: "user", reason: "drawn" };
    return random.pick<() => ControlCommand>([
      () => ({ ...by, kind: "cancel" }),
      () => ({ ...by, kind: "cancel", graceMs: random.int(0, 3_000), ...(random.chance(0.2) ? { compensate: false } : {}) }),
      () => ({ ...by, kind: "pause" }),
      () => ({ ...by, kind: "resume" }),
      () => ({ ...by, kind: "terminate" }),
      () => ({ ...by, kind: "retry", steps: [] }),
      () => ({ ...by, kind: "update_variables", variables: { v: random.int(0, 9) } }),
      () => ({ ...by, kind: "skip_step", path }),
      () => ({ ...by, kind: "complete_step", path, result: { by: "hand", items: [1, 2, 3] } }),
      () => ({ ...by, kind: "fail_step", path, failure: { name: "MANUAL", message: "by hand" } }),
    ])();
  }

  async #command(executionId: string, command: ControlCommand): Promise<void> {
    this.commands += 1;
    const answer = await this.untilAnswered(({ engine }) => engine.control(caller, executionId, command));
    if ("refusal" in answer) {
      if (answer.refusal.reason === "EXECUTION_NOT_FOUND" || answer.refusal.code === "INTERNAL") this.violated(`${command.kind}: ${answer.refusal.message}`);
      return;
    }
    const types = new Set(this.#world.database.ledgerOf(executionId).map(({ type }) => type));
    if (command.kind === "terminate" && !types.has("execution_ended")) this.violated(`${executionId}: a termination was acknowledged and is not in the ledger`);
    const isTurned = types.has("execution_cancel_requested") || types.has("saga_state_changed");
    if (command.kind === "cancel" && !isTurned) this.violated(`${executionId}: a cancel was acknowledged and is not in the ledger`);
  }

  async #watch(executionId: string): Promise<void> {
    let position: number | undefined;
    let ended = false;
    while (!ended && !this.#world.isOver) {
      const replica = this.#world.replica(this.#random);
      const consume = async ({ progress, process }: Replica): Promise<void> => {
        const request = { executionId, afterSequence: position, signal: new AbortController().signal };
        for await (const item of watchExecution(progress, caller, request)) {
          if (process.dead) return;
          if (item.kind === "snapshot") {
            if (position !== undefined && item.state.sequence < position)
              this.violated(`${executionId}: a watcher at ${position} was shown ${item.state.sequence}`);
            position = item.state.sequence;
          } else if (item.kind === "event") {
            if (item.event.sequence !== (position ?? 0) + 1) this.violated(`${executionId}: a watcher at ${position} was shown event ${item.event.sequence}`);
            const stored = this.#world.database.executions.get(executionId)?.ledger[item.event.sequence - 1];
            if (stored !== JSON.stringify(item.event)) this.violated(`${executionId}: a watcher was shown ${item.event.type}, which is not in the ledger`);
            position = item.event.sequence;
          }
        }
        ended = true;
      };
      const answer = replica ? await this.ask(replica, consume, Number.POSITIVE_INFINITY) : "gone";
      if (typeof answer === "object" && "refusal" in answer && ["SEQUENCE_AHEAD", "EXECUTION_NOT_FOUND"].includes(answer.refusal.reason)) {
        return void this.violated(`${executionId}: a watcher at ${position} was told ${answer.refusal.message}`);
      }
      if (!ended) await this.pause(100);
    }
  }

  /** Until a replica answers yes or no; what passes is tried again, elsewhere if need be. */
  async untilAnswered<Value>(call: (replica: Replica) => Promise<Value>): Promise<{ readonly value: Value } | { readonly refusal: AppError }> {
    for (let attempt = 1; ; attempt++) {
      if (this.#world.isOver) await new Promise(() => undefined);
      const replica = this.#world.replica(this.#random);
      const answer = replica ? await this.ask(replica, call, 8_000) : "gone";
      if (answer !== "gone" && ("value" in answer || answer.refusal.code !== "UNAVAILABLE")) return answer;
      if (attempt > 100) return { refusal: new AppError("INTERNAL_BUG", "no replica answers for a long time") };
      await this.pause(this.#random.between(20, 300));
    }
  }

  /** One call to one replica: `gone` when it dies or does not answer in time. */
  ask<Value>(replica: Replica, call: (replica: Replica) => Promise<Value>, timeoutMs: number): Promise<Answer<Value>> {
    const { scheduler } = this.#world;
    return new Promise((resolve) => {
      const later = (answer: Answer<Value>): void => void scheduler.after(this.#random.between(0.2, 2), undefined, () => resolve(answer));
      replica.process.onDeath(() => later("gone"));
      if (Number.isFinite(timeoutMs)) scheduler.after(timeoutMs, undefined, () => resolve("gone"));
      scheduler.after(this.#random.between(0.2, 2), replica.process, () => {
        const answered = (answer: Answer<Value>): void => {
          if (!replica.process.dead) later(answer);
        };
        void call(replica).then(
          (value) => answered({ value }),
          (error: unknown) => answered(this.#read(error)),
        );
      });
    });
  }

  #read(error: unknown): Answer<never> {
    if (error instanceof AppError) return { refusal: error };
    // Above the engine such an error becomes UNAVAILABLE.
    if (error instanceof BrokenConnection) return "gone";
    this.violated(`a call failed with ${messageOf(error)}`);
    return "gone";
  }

  pause(durationMs: number): Promise<void> {
    return new Promise((resolve) => void this.#world.scheduler.after(durationMs, undefined, resolve));
  }

  async tracked(delayMs: number, run: () => Promise<void>): Promise<void> {
    this.open += 1;
    await this.pause(delayMs);
    await run();
    this.open -= 1;
  }

  violated(what: string): void {
    this.#world.violations.push(what);
  }
}

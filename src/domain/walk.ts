/**
 * The way forward through a definition: passes finished steps and stops at the frontier. Blocks decide over what they hold
 * in `blocks/`, each through the few verbs of `BlockWalk`.
 */
import { limits } from "../base/limits.ts";
import type { BlockWalk, Position } from "./blocks/block-walk.ts";
import { walkConditional } from "./blocks/conditional.ts";
import { walkForEach } from "./blocks/for-each.ts";
import { walkParallel } from "./blocks/parallel.ts";
import { type Command, type InFlight, operationKey } from "./command.ts";
import type { CompiledRevision, Step } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { failure } from "./failure.ts";
import { expiryOf } from "./reported.ts";
import { failedEvent, settleAction } from "./settle.ts";
import { endOfWait } from "./waits.ts";

const done: Position = { kind: "done" };
const blocked: Position = { kind: "blocked" };

export class Walk implements BlockWalk {
  readonly commands: Command[] = [];
  readonly revision: CompiledRevision;
  readonly state: ExecutionState;
  readonly inFlight: InFlight;
  readonly now: number;

  constructor(revision: CompiledRevision, state: ExecutionState, inFlight: InFlight, now: number) {
    this.revision = revision;
    this.state = state;
    this.inFlight = inFlight;
    this.now = now;
  }

  sequence(steps: readonly Step[], prefix: string): Position {
    for (const step of steps) {
      const position = this.#step(step, prefix + step.name, prefix);
      if (position.kind !== "done") return position;
    }
    return done;
  }

  fork(steps: readonly Step[], prefix: string): { readonly position: Position; readonly commands: readonly Command[] } {
    const walk = new Walk(this.revision, this.state, this.inFlight, this.now);
    return { position: walk.sequence(steps, prefix), commands: walk.commands };
  }

  record(event: NewEvent): void {
    this.commands.push({ kind: "record", event });
  }

  finish(step: Step, run: StepRun, result: Parameters<BlockWalk["finish"]>[2]): Position {
    const target = { step, path: run.path, attempt: run.attempt };
    for (const event of settleAction(this, target, { kind: "succeeded", result }, 0)) this.record(event);
    return blocked;
  }

  fail(step: Step, run: StepRun, child: StepRun): Position {
    const cause = child.failure ?? failure("INTERNAL", "a step failed without a failure");
    const failed = { ...cause, stepPath: cause.stepPath ?? child.path };
    this.record(failedEvent(this, { step, path: run.path, attempt: run.attempt }, failed, "failed"));
    return blocked;
  }

  #step(step: Step, path: string, prefix: string): Position {
    const run = this.state.steps.get(path);
    if (!run) return this.#act(step, path, 1);
    switch (run.status) {
      case "completed":
      case "skipped":
      case "canceled":
        return done;
      case "failed":
        if (!run.handled) return { kind: "failed", run };
        return run.caughtBy === undefined ? done : this.sequence(step.catches[run.caughtBy]?.steps ?? [], prefix);
      case "running":
        if (step.block) return this.#block(step, run, prefix);
        if (run.report) return this.#awaitReport(step, run);
        return this.inFlight.has(operationKey(path, "action")) ? blocked : this.#act(step, path, run.attempt + 1);
      case "retrying":
        return this.#due(run.wakeAt) ? this.#act(step, path, run.attempt + 1) : blocked;
      case "waiting":
        if (run.report) return blocked;
        if (!this.#due(run.wakeAt)) return blocked;
        if (run.awaits) this.commands.push({ kind: "expire", step, path, operation: "action" });
        else for (const event of settleAction(this, { step, path, attempt: run.attempt }, endOfWait(step, run, this.now), 0)) this.record(event);
        return blocked;
      case "queued":
        return run.report ? this.#awaitReport(step, run) : this.#act(step, path, run.attempt + 1);
      case "pending":
        return this.#act(step, path, run.attempt + 1);
      case "compensating":
      case "compensated":
      case "compensation_failed":
        return blocked;
      default:
        return run.status satisfies never;
    }
  }

  #block(step: Step, run: StepRun, prefix: string): Position {
    const { block } = step;
    switch (block?.kind) {
      case "conditional":
        return walkConditional(this, step, run, prefix);
      case "parallel":
        return walkParallel(this, step, block, run, prefix);
      case "for_each":
        return walkForEach(this, step, block, run);
      case undefined:
        return blocked;
      default:
        return block satisfies never;
    }
  }

  #act(step: Step, path: string, attempt: number): Position {
    if (attempt === 1 && this.state.steps.size >= limits.stepRunsPerExecutionMax) {
      const cause = failure("LIMIT.STEPS", `an execution runs at most ${limits.stepRunsPerExecutionMax} steps, loop items counted`);
      this.record(failedEvent(this, { step, path, attempt }, cause, "failed"));
    } else {
      this.commands.push({ kind: "act", step, path, attempt });
    }
    return blocked;
  }

  /** Somebody outside has it: nothing to do until the report, or until its time or the silence is too long. */
  #awaitReport(step: Step, run: StepRun): Position {
    const wait = run.report;
    if (!wait || this.#isOpenUntil(expiryOf(wait))) return blocked;
    this.commands.push({ kind: "expire", step, path: run.path, operation: "action" });
    return blocked;
  }

  #isOpenUntil(moment: number | undefined): boolean {
    return moment === undefined || !this.#due(moment);
  }

  #due(moment: number | undefined): boolean {
    if (moment === undefined || moment <= this.now) return true;
    this.commands.push({ kind: "wait", until: moment });
    return false;
  }
}

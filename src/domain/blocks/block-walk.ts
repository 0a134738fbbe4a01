/** What a block may ask of the walk it is part of. */
import type { Json } from "../../base/json.ts";
import type { Command, InFlight } from "../command.ts";
import type { CompiledRevision, Step } from "../definition.ts";
import type { NewEvent } from "../events.ts";
import type { ExecutionState, StepRun } from "../execution-state.ts";

/** Where a sequence stands: through, waiting for something, or stopped by a failure nobody in it handled. */
export type Position = { readonly kind: "done" } | { readonly kind: "blocked" } | { readonly kind: "failed"; readonly run: StepRun };

export interface BlockWalk {
  readonly revision: CompiledRevision;
  readonly state: ExecutionState;
  readonly inFlight: InFlight;
  readonly now: number;
  /** What is due now; the walk's answer. */
  readonly commands: Command[];
  /** Walks steps whose paths begin with `prefix`; their commands become the walk's. */
  sequence(steps: readonly Step[], prefix: string): Position;
  /** The same, but the commands are handed over: a block that is over must not start more. */
  fork(steps: readonly Step[], prefix: string): { readonly position: Position; readonly commands: readonly Command[] };
  record(event: NewEvent): void;
  /** The block succeeds with `result`. */
  finish(step: Step, run: StepRun, result: Json): Position;
  /** The block fails because of a step in it. */
  fail(step: Step, run: StepRun, child: StepRun): Position;
}

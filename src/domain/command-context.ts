/** What the rule of a command sees. */
import type { CompiledRevision } from "./definition.ts";
import type { ExecutionState } from "./execution-state.ts";

export interface CommandContext {
  readonly state: ExecutionState;
  readonly revision: CompiledRevision;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

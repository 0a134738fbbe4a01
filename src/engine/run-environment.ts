/** What a run is given by the engine of its replica. */
import type { CompiledRevision } from "../domain/definition.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import type { OutgoingCommand } from "../domain/outgoing-command.ts";
import type { Journal } from "../store/journal.ts";
import type { ChildLink } from "./child-link.ts";
import type { SignalSource } from "./outside-look.ts";
import type { StepEnvironment } from "./run-step.ts";
import type { TaskPort } from "./run-tasks.ts";
import type { EngineTelemetry } from "./telemetry.ts";

export interface RunEnvironment extends StepEnvironment {
  readonly journal: Journal;
  readonly publish: (executionId: string, events: readonly ExecutionEvent[], tenantId: string) => void;
  /** Resolves after that many milliseconds or when the signal aborts. */
  readonly sleep: (durationMs: number, signal: AbortSignal) => Promise<void>;
  readonly random: () => number;
  /** The revision with the steps that joined the execution; absent: none ever does. */
  readonly joined?: (base: CompiledRevision, state: ExecutionState) => CompiledRevision;
  /** Absent: events from outside are not known here. */
  readonly signals?: SignalSource;
  /** Absent: no step is carried out by another execution. */
  readonly children?: ChildLink;
  /** Commands for other executions are durable: they may be carried out. */
  readonly deliver?: (tenantId: string, senderId: string, commands: readonly OutgoingCommand[]) => void;
  /** Whether no other replica can have taken the execution over by now; absent: there is none. */
  readonly holdsLease?: () => boolean;
  /** Absent: nothing is counted or recorded. */
  readonly telemetry?: EngineTelemetry;
  /** Absent: there are no task queues. */
  readonly tasks?: TaskPort;
}

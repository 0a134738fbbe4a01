/** A command that one execution has for another one: durable with the event that causes it, carried out at least once. */
import type { ControlCommand } from "./control-command.ts";

export interface OutgoingCommand {
  /** The execution it is for. */
  readonly executionId: string;
  /** Number of the event that causes it; one event has at most one command for the same execution. */
  readonly sequence: number;
  readonly command: ControlCommand;
}

/** What `decide` asks the engine to do. */
import type { Step } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { Failure } from "./failure.ts";

export type Command =
  /** Evaluate the start values of the variables and record `execution_started`. */
  | { readonly kind: "start" }
  /** Carry out one attempt of a step's action. */
  | { readonly kind: "act"; readonly step: Step; readonly path: string; readonly attempt: number }
  /** Carry out one attempt of a step's undo. */
  | { readonly kind: "undo"; readonly step: Step; readonly path: string; readonly attempt: number }
  /** Carry out one attempt of a step's confirmation. */
  | { readonly kind: "confirm"; readonly step: Step; readonly path: string; readonly attempt: number }
  /** A rule's own event: nothing has to be carried out. */
  | { readonly kind: "record"; readonly event: NewEvent }
  /** Evaluate the outputs and record a successful end. */
  | { readonly kind: "complete" }
  /** Abort an attempt in flight; its outcome still counts. */
  | { readonly kind: "abort"; readonly path: string; readonly failure: Failure }
  /**
   * What was awaited from outside has not come in its time. A report: settle the attempt as one with an unknown outcome. An event:
   * look once more at what is stored, because whoever was to tell of it may be frozen or dead; end the wait if nothing came in time.
   */
  | { readonly kind: "expire"; readonly step: Step; readonly path: string; readonly operation: OperationKind }
  /** Take back an operation whose report is awaited, if nobody has taken it yet; else tell whoever carries it out. */
  | { readonly kind: "recall"; readonly path: string; readonly operation: OperationKind; readonly attempt: number }
  /** Nothing is due before this moment. */
  | { readonly kind: "wait"; readonly until: number };

export type OperationKind = "action" | "compensate" | "confirm";

/** Attempts that this process has sent and not heard of, by `operationKey`. */
export type InFlight = { has(key: string): boolean };

export function operationKey(path: string, operation: OperationKind): string {
  return `${path}#${operation}`;
}

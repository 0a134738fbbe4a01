/** Why an execution does not go on. */
import type { Failure } from "./failure.ts";
import type { ExecutionStatus } from "./states.ts";

export type BlockerCause =
  | { readonly kind: "event"; readonly eventType: string; readonly correlationKey: string }
  | {
      readonly kind: "retry";
      readonly operation: "action" | "compensate";
      /** Number of the next attempt. */
      readonly attempt: number;
      /** 0: no limit. */
      readonly maximumAttempts: number;
      readonly failure: Failure | undefined;
    }
  | { readonly kind: "breaker"; readonly key: string }
  | { readonly kind: "timer"; readonly source: "delay" | "start_delay" }
  | { readonly kind: "worker"; readonly queue: string; readonly taskType: string; readonly backlog: number; readonly workers: number }
  | { readonly kind: "child"; readonly childId: string; readonly state: ExecutionStatus | undefined }
  | { readonly kind: "pause"; readonly actor: string; readonly reason: string }
  | { readonly kind: "operator"; readonly operation: "action" | "compensate"; readonly failure: Failure | undefined };

export interface Blocker {
  /** Empty: the execution itself. */
  readonly stepPath: string;
  readonly message: string;
  /** When it ends by itself, in milliseconds since the epoch; undefined: never, or not known. */
  readonly untilAt: number | undefined;
  readonly cause: BlockerCause;
}

/** How one attempt of a step ended, as its handler tells it. */
import type { Json } from "../base/json.ts";
import type { AwaitedEvent } from "./events.ts";
import type { Failure } from "./failure.ts";

export type StepOutcome =
  | {
      readonly kind: "succeeded";
      readonly result: Json;
      /** An undo that found nothing to take back. */
      readonly nothingToUndo?: boolean;
    }
  | {
      readonly kind: "failed";
      readonly failure: Failure;
      /** `failed`: surely no effect; `unknown`: perhaps one. */
      readonly outcome: "failed" | "unknown";
      /** Delay the other side asked for (Retry-After). */
      readonly retryAfterMs?: number;
      /** It was told from outside, not concluded from silence. */
      readonly reported?: boolean;
      /** Given up in silence: it may go on until then (milliseconds since the epoch), so no undo begins before. */
      readonly mayRunUntil?: number;
      /** The other side is still at work: it is asked again at an even pace, and no attempt is counted. */
      readonly inProgress?: boolean;
      /** The other side is away or overloaded: key of the breaker whose first success brings the next attempt forward. */
      readonly waitsFor?: string;
      /** It was not made: it is put back, and the step waits until then (milliseconds since the epoch). */
      readonly postponedUntil?: number;
    }
  /** Come back at that moment (milliseconds since the epoch), or when one of the events is there; only for steps of nature `wait`. */
  | { readonly kind: "waiting"; readonly wakeAt: number; readonly awaiting?: string; readonly events?: readonly AwaitedEvent[] };

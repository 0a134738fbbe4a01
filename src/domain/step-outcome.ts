/** How one attempt of a step ended, as its handler tells it. */
import type { Json } from "../base/json.ts";
import type { Failure } from "./failure.ts";

export type StepOutcome =
  | { readonly kind: "succeeded"; readonly result: Json }
  | {
      readonly kind: "failed";
      readonly failure: Failure;
      /** `failed`: surely no effect; `unknown`: perhaps one. */
      readonly outcome: "failed" | "unknown";
      /** Delay the other side asked for (Retry-After). */
      readonly retryAfterMs?: number;
    }
  /** Come back at that moment (milliseconds since the epoch); only for steps of nature `wait`. */
  | { readonly kind: "waiting"; readonly wakeAt: number };
